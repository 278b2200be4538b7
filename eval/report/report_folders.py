"""What there is to report in folders: runs, results, sweeps and pictures, recognised by the files that make them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s2vc.eval.results_folder import TABLE
from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.files import half_written

RUN, SWEEP = "settings.yaml", "sweep.csv"
PICTURES = (".png", ".gif", ".jpg", ".jpeg")

MAX_DEPTH = 2
"""So many levels of folders below a given one are looked into: those of SWEEP/runs/NAME."""

SKIPPED_FOLDERS = ("features", "tensorboard", "validation")
"""These hold much and nothing to show; of a sweep's validation, its table has the numbers."""


@dataclass
class ReportFolders:
    """Holds folders, each once, in the order they were given and by name below."""

    runs: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    sweeps: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Count the folders and pictures."""
        return len(self.runs) + len(self.results) + len(self.sweeps) + len(self.pictures)


def find_report_folders(folders: Sequence[Path]) -> ReportFolders:
    """Look through folders. Raises UserError for one that is not there, or has nothing to report."""
    found = ReportFolders()
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
        before = found.count
        already = folder.resolve() in seen
        for subfolder in _folders(folder, MAX_DEPTH):
            if subfolder.resolve() not in seen:
                seen.add(subfolder.resolve())
                _collect(subfolder, found)
        if found.count == before and not already:
            raise UserError(
                f"{folder} has nothing to report: no {RUN} of a run, no {TABLE}, no {SWEEP} and no pictures"
            )
    if found.count == len(found.pictures):
        raise UserError(
            f"nothing to report in {', '.join(map(str, folders))}: pictures, but no {RUN} of a run, no {TABLE} and "
            f"no {SWEEP}"
        )
    return found


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for child in _listed(folder):
            if child.is_dir() and child.name not in SKIPPED_FOLDERS:
                yield from _folders(child, depth - 1)


def _collect(subfolder: Path, found: ReportFolders) -> None:
    if (subfolder / RUN).is_file():
        found.runs.append(subfolder)
    if (subfolder / TABLE).is_file():
        found.results.append(subfolder)
    if (subfolder / SWEEP).is_file():
        found.sweeps.append(subfolder)
    found.pictures += [p for p in _listed(subfolder) if p.suffix.lower() in PICTURES and p.is_file()]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not half_written(p.name))
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None
