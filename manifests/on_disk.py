"""Which listed videos are on disk, and what becomes of those that are not."""

import errno
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import write_atomically

# Where one stem is there under several, they are preferred in this order.
VIDEO_EXTENSIONS = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv",
    ".mts", ".m2ts", ".m2t", ".vob", ".m2v", ".3g2", ".asf", ".f4v", ".divx", ".qt", ".ogm", ".rm", ".rmvb", ".mxf",
    ".dv", ".wtv", ".nut", ".ivf", ".obu", ".h264", ".264", ".hevc", ".265", ".y4m", ".gif", ".webp", ".apng", ".avif",
)  # fmt: skip
NOT_ON_DISK, LEAVES_ROOT, SAME_FILE = "not on disk", "leaves the root", "same file as another listed video"


@dataclass(frozen=True)
class Reading:
    """Holds what a reader found: the table; a table of what it had to leave out, with a column `reason`; and notes.

    The video_id of a missing video is its name in the list. The notes are for the user, a sentence each.
    """

    table: pd.DataFrame
    missing: pd.DataFrame
    notes: list[str]


class FolderFiles:
    """Finds files under a root, where each folder is scanned once, when it is first asked for.

    No path leads outside the root, but for links that the user put there. Raises UserError where root is no folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"no folder {root}")
        self.root = root
        self._files: dict[str, dict[str, str]] = {}

    def find(self, path: str) -> str | None:
        """Find the path of that file, or else of a video beside it with the same stem; None where there is none.

        Raises UserError where a folder is there but cannot be read.
        """
        if leaves_root(path):
            return None
        folder, name = posixpath.split(posixpath.normpath(path))
        files = self._scan(folder)
        # A stem cannot pass for a file of the folder in this mapping: it begins with a slash.
        found = files.get(name) or files.get("/" + video_stem(name))
        return posixpath.join(folder, found) if found else None

    def has_files(self, folder: str) -> bool:
        """Say whether the folder is there and holds files."""
        return not leaves_root(folder) and bool(self._scan(posixpath.normpath(folder) if folder else ""))

    def _scan(self, folder: str) -> dict[str, str]:
        """Map file names to themselves, and `/stem` to a file name."""
        if folder not in self._files:
            names = _file_names(self.root / folder)
            # Of several with one stem the last one put in stays, whose ending is preferred.
            ranked = sorted((name for name in names if is_video(name)), key=_preference, reverse=True)
            stems = {"/" + video_stem(name): name for name in ranked}
            self._files[folder] = {name: name for name in names} | stems
        return self._files[folder]


def find_listed(listed: pd.DataFrame, disk: FolderFiles, places: Iterable[Iterable[str]] | None = None) -> Reading:
    """Keep the listed videos that are on disk, under the names they have there, sorted by video_id.

    places: for each row the paths to look at, in order; without it the row's own path. Of rows that come to one file
    the one that lists it by its very name is kept, else the first. Raises UserError where nothing is found.
    """
    paths = listed["path"].tolist()
    tried = ([path] for path in paths) if places is None else places
    found = [_first_found(disk, path, at) for path, at in zip(paths, tried, strict=True)]
    kept: dict[str, int] = {}
    for row in sorted(range(len(paths)), key=lambda row: found[row] != paths[row]):
        if (path := found[row]) is not None:
            kept.setdefault(path, row)
    if not kept:
        raise UserError(f"none of {len(paths)} listed videos is under {disk.root}, as {paths[0]!r} would be")
    by_id = sorted(kept)
    table = listed.iloc[[kept[path] for path in by_id]].reset_index(drop=True)
    table = table.assign(video_id=by_id, path=by_id).astype("str")
    lost = sorted(set(range(len(paths))) - set(kept.values()))
    reasons = [_reason(paths[row], found[row]) for row in lost]
    missing = listed.iloc[lost].drop(columns="path").reset_index(drop=True)
    missing = missing.assign(reason=reasons).astype("str")
    renamed = sum(paths[row] != path for path, row in kept.items())
    return Reading(table, missing, _notes(len(paths), reasons, renamed))


def write_missing(missing: pd.DataFrame, manifest: Path) -> Path | None:
    """Write Reading.missing beside a manifest, as MANIFEST.missing.csv; gives the file, or None for no rows.

    With no rows the file of an earlier run is removed: it would name videos that are there now.
    """
    path = manifest.with_name(f"{manifest.stem}.missing.csv")
    if missing.empty:
        path.unlink(missing_ok=True)
        return None
    write_atomically(path, missing.to_csv(index=False, lineterminator="\n").encode())
    return path


def is_video(name: str) -> bool:
    """Say whether a file name has the ending of a video."""
    return name.lower().endswith(VIDEO_EXTENSIONS)


def video_stem(name: str) -> str:
    """Cut the ending of a video off a file name, where it has one."""
    return name.rpartition(".")[0] if is_video(name) else name


def leaves_root(path: str) -> bool:
    """Say whether a path from a list could point outside the root it is relative to."""
    return path.startswith("/") or ".." in path.split("/")


def _first_found(disk: FolderFiles, listed: str, places: Iterable[str]) -> str | None:
    if leaves_root(listed):  # Such a list is not to be trusted.
        return None
    return next((found for path in places if (found := disk.find(path))), None)


def _reason(path: str, found: str | None) -> str:
    if found:
        return SAME_FILE
    return LEAVES_ROOT if leaves_root(path) else NOT_ON_DISK


def _notes(listed: int, reasons: list[str], renamed: int) -> list[str]:
    counts = {
        f"of {listed} listed videos are not on disk": reasons.count(NOT_ON_DISK),
        f"of {listed} listed videos leave the root": reasons.count(LEAVES_ROOT),
        f"of {listed} listed videos are the same file as another one": reasons.count(SAME_FILE),
        f"of {listed} listed videos have another name on disk (folder or ending)": renamed,
    }
    return [f"{number} {what}" for what, number in counts.items() if number]


def _file_names(folder: Path) -> list[str]:
    """List the files in a folder, sorted; none for no folder. A link counts as what it points at."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_file(entry))
    except OSError as error:
        # A list can name any folder. These errors say that it is not there, others that the disk is ill.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            return []
        raise UserError(f"cannot read {folder}: {error.strerror}") from None


def _is_file(entry: os.DirEntry[str]) -> bool:
    # DirEntry.is_file would raise for a link that goes in circles.
    return os.path.isfile(entry) if entry.is_symlink() else entry.is_file()


def _preference(name: str) -> tuple[int, str]:
    return VIDEO_EXTENSIONS.index(name[len(video_stem(name)) :].lower()), name
