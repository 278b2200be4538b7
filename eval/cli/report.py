"""`s2vc-eval report`."""

from pathlib import Path

import click

from s2vc.eval.results_folder import check_writable
from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.options import FOLDER, OUTPUT
from s2vc.pipeline.console.progress import size
from s2vc.pipeline.console.terminal import make_console, print_json, print_result
from s2vc.pipeline.console.verbosity import json_option


@click.command("report")
@click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="FOLDER…")
@json_option
@click.option("--out", type=OUTPUT, default=Path("report.html"), help="The page; what is there is replaced.")
def report_command(folders: tuple[Path, ...], out: Path) -> None:
    """One HTML page of runs, results and sweeps, with the paper's numbers beside ours where it has some.

    FOLDER is a run's, a folder of results, a sweep's, or one that holds such. The page needs no network and no files
    beside it: pictures are inside, 20 MB of them at most.
    """
    from s2vc.eval.report.page import write_report

    if out.is_dir():
        raise UserError(f"{out} is a folder; give --out the name of a page, such as {out / 'report.html'}")
    check_writable(out.absolute().parent)
    report = write_report(folders, out)
    found, pictures = report.folders, report.pictures
    counts = {"run": len(found.runs), "result": report.results, "sweep": len(found.sweeps)}
    counts["picture"] = pictures.count
    text = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
    console = make_console()
    print_result(console, f"{out}, {size(out.stat().st_size)}: {text}")
    for sentence in pictures.left_out:
        console.print(f"left out: {sentence}")
    listed = {f"{name}s": n for name, n in counts.items()}
    print_json({"page": str(out), "bytes": out.stat().st_size, **listed, "left_out": list(pictures.left_out)})
