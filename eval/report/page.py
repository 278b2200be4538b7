"""Runs, results and sweeps as one HTML page that needs no network, no script and no other file: pictures are inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from s2vc.eval.paper import ASSUMPTIONS
from s2vc.eval.report.paper_figures import figure_rows
from s2vc.eval.report.pictures import Picture, Pictures
from s2vc.eval.report.report_folders import ReportFolders, find_report_folders
from s2vc.eval.report.result_files import Result, read_results
from s2vc.eval.report.runs import view_run
from s2vc.eval.report.sweeps import view_sweep
from s2vc.eval.report.tables import number_cell, tables
from s2vc.manifests.errors import UserError, printable
from s2vc.pipeline.storage import files

PAGE = "page.html"


@dataclass(frozen=True)
class Report:
    """Tells what went into a page. pictures: has sentences on those that did not."""

    folders: ReportFolders
    results: int
    pictures: Pictures


def write_report(folders: Sequence[Path], out: Path) -> Report:
    """Write a page of what is in folders: runs, results together with the paper's, sweeps, and pictures.

    Raises UserError for folders with nothing to report, for files that are damaged, and where `out` cannot be written.
    """
    found, pictures = find_report_folders(folders), Pictures()
    runs = [view_run(folder, pictures) for folder in found.runs]
    sweeps = [view_sweep(folder, pictures) for folder in found.sweeps]
    results: list[Result] = []
    for folder in found.results:
        results += read_results(folder, len(results) + 1)
    page = (
        _environment()
        .get_template(PAGE)
        .render(
            title=_title(folders),
            folders=[str(folder) for folder in folders],
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            version=version("s2vc"),
            runs=runs,
            sweeps=sweeps,
            tables=tables(results),
            measured=figure_rows(results, sweeps),
            figures={r.mark: _figure(r, pictures) for r in results},
            others=[p for path in found.pictures if (p := pictures.take(path, _shortened_path(path, folders)))],
            left_out=pictures.left_out,
            assumed=ASSUMPTIONS,
            number_cell=number_cell,
        )
    )
    try:
        files.write_text(out, page)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
    return Report(found, len(results), pictures)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("s2vc.eval.report", "."),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _printable(value: object) -> object:
    """Spell out, in text from files, control characters and what UTF-8 has no bytes for."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _title(folders: Sequence[Path]) -> str:
    return ", ".join(folder.resolve().name for folder in folders)


def _figure(result: Result, pictures: Pictures) -> Picture | None:
    path = result.figure
    return pictures.take(path, f"{result.mark}, {result.task}") if path.is_file() else None


def _shortened_path(path: Path, folders: Sequence[Path]) -> str:
    """Give a picture's path from the folder that it was found in."""
    for folder in folders:
        if path.is_relative_to(folder):
            return str(Path(folder.resolve().name) / path.relative_to(folder))
    return str(path)
