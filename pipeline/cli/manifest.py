"""Define the command `s2vc-prep manifest`, with one sub-command for each kind of source."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2vc.manifests.choices import SPLIT_FOLDERS
from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.options import EXISTING_FILE, FOLDER, OUTPUT
from s2vc.pipeline.console.progress import count
from s2vc.pipeline.console.terminal import make_console, print_json, print_next, print_result
from s2vc.pipeline.console.verbosity import json_option

if TYPE_CHECKING:
    from s2vc.manifests.on_disk import Reading


videos_argument = click.argument("videos", type=FOLDER)
out_option = click.option("--out", type=OUTPUT, required=True, help="CSV, or Parquet where it ends in .parquet.")
lists_option = click.option("--lists", type=FOLDER, required=True, help="Folder of the official split files.")


@click.group("manifest")
def manifest_command() -> None:
    """Write the table of videos: video_id, path, label, class_name and split columns.

    VIDEOS is the folder of the videos. Videos that are listed but not on disk are written to OUT's .missing.csv.
    """


def reader(name: str) -> "Callable[[Callable[..., Reading]], click.Command]":
    """Return a decorator that makes a sub-command from a function that reads a source.

    The sub-command has the option --out and writes there what the function returns.
    """

    def wrap(read: "Callable[..., Reading]") -> click.Command:
        def command(videos: Path, out: Path, **options: Any) -> None:
            write_reading(read(videos, **options), videos, out)

        command.__doc__ = read.__doc__
        command.__click_params__ = getattr(read, "__click_params__", [])  # type: ignore[attr-defined]
        return manifest_command.command(name)(videos_argument(out_option(json_option(command))))

    return wrap


def write_reading(reading: "Reading", videos: Path, out: Path) -> None:
    """Write the table, the folder of its videos and the missing ones; print what was found, and what comes next.

    Raises UserError if no video was found.
    """
    from s2vc.manifests.class_checks import class_warnings
    from s2vc.manifests.on_disk import write_missing
    from s2vc.manifests.table import class_names, record_root, write_manifest

    console = make_console()
    for note in reading.notes:
        console.print(note)
    if reading.table.empty:
        raise UserError("no video was found, so there is nothing to write")
    write_manifest(reading.table, out)
    record_root(out, videos)
    missing = write_missing(reading.missing, out)
    for warning in (warnings := class_warnings(reading.table)):
        print_result(console, warning)
    classes = int((names := class_names(reading.table))[names != ""].nunique())
    print_result(console, f"{count(len(reading.table), 'video')} of {count(classes, 'class', 'classes')} in {out}")
    if missing is not None:
        print_result(
            console, f"listed or seen, but left out: {count(len(reading.missing), 'video')}, with reasons, in {missing}"
        )
    print_next(console, "s2vc-prep", "encode", out, "--out", "CACHE")
    found = {"manifest": str(out), "videos": len(reading.table), "classes": classes}
    left_out = {"left_out": len(reading.missing), "left_out_list": None if missing is None else str(missing)}
    print_json({**found, **left_out, "notes": list(reading.notes), "warnings": list(warnings)})


@reader("folder")
@click.option(
    "--split-folders",
    type=click.Choice(SPLIT_FOLDERS),
    default="auto",
    show_default=True,
    help="Whether the folders at the top are splits. auto: if all are named so, as train, Test or val_256; always: "
    "those that are, and the others are left out; never: they are classes.",
)
def folder(videos: Path, split_folders: str) -> "Reading":
    """List every video in a folder.

    The first folder of a video's path is its class. Folders train/, test/ and val/ at the top become splits.
    """
    from s2vc.manifests.folder import read_folder

    return read_folder(videos, split_folders)


@reader("ucf101")
@lists_option
def ucf101(videos: Path, lists: Path) -> "Reading":
    """List UCF101 by classInd.txt, trainlist0N.txt and testlist0N.txt, with a column for each split."""
    from s2vc.manifests.ucf101 import read_ucf101

    return read_ucf101(videos, lists)


@reader("hmdb51")
@lists_option
def hmdb51(videos: Path, lists: Path) -> "Reading":
    """List HMDB51 by CLASS_test_splitN.txt, with a column for each split."""
    from s2vc.manifests.hmdb51 import read_hmdb51

    return read_hmdb51(videos, lists)


@reader("jhmdb")
@lists_option
def jhmdb(videos: Path, lists: Path) -> "Reading":
    """List JHMDB by CLASS_test_splitN.txt, with a column for each split."""
    from s2vc.manifests.hmdb51 import read_jhmdb

    return read_jhmdb(videos, lists)


@reader("ssv2")
@lists_option
def ssv2(videos: Path, lists: Path) -> "Reading":
    """List Something-Something v2 by something-something-v2-labels.json, -train.json and -validation.json."""
    from s2vc.manifests.something_something import read_something_something

    return read_something_something(videos, lists)


@reader("diving48")
@lists_option
def diving48(videos: Path, lists: Path) -> "Reading":
    """List Diving48 by Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json."""
    from s2vc.manifests.diving48 import read_diving48

    return read_diving48(videos, lists)


csv_option = click.option("--csv", "csvs", type=EXISTING_FILE, multiple=True, required=True, help="Repeatable.")


@reader("kinetics400")
@csv_option
def kinetics400(videos: Path, csvs: tuple[Path, ...]) -> "Reading":
    """List Kinetics-400 by CSVs of label, youtube_id, time_start, time_end, split."""
    from s2vc.manifests.kinetics import read_kinetics

    return read_kinetics(videos, csvs)


@reader("kinetics200")
@csv_option
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the choice of videos.")
def kinetics200_(videos: Path, csvs: tuple[Path, ...], seed: int) -> "Reading":
    """List Kinetics-200: the 200 largest classes of Kinetics-400, 400 training and 25 validation videos of each."""
    from s2vc.manifests.kinetics import kinetics200, read_kinetics

    return kinetics200(read_kinetics(videos, csvs), seed)


@reader("mini-kinetics")
@lists_option
@csv_option
def mini_kinetics(videos: Path, lists: Path, csvs: tuple[Path, ...]) -> "Reading":
    """List Mini-Kinetics-200 by train_ytid_list.txt and val_ytid_list.txt, with classes from CSVs of Kinetics-400."""
    from s2vc.manifests.mini_kinetics import read_mini_kinetics

    return read_mini_kinetics(videos, lists, csvs)


@reader("lists")
@click.option("--train", type=EXISTING_FILE, multiple=True, help="List of training videos; repeat it for split 2, 3.")
@click.option("--test", type=EXISTING_FILE, multiple=True, help="List of test videos; repeat it for split 2, 3.")
@click.option("--classes", type=EXISTING_FILE, help="Names of the classes, a line each, as ClassInd.txt.")
@click.option(
    "--columns",
    metavar="NAMES",
    help="Order of a line: path,label,frames (the published code's), path,frames,label (mmaction2's rawframes), or "
    "path,label.  [default: what the numbers look like]",
)
def lists(
    videos: Path, train: tuple[Path, ...], test: tuple[Path, ...], classes: Path | None, columns: str | None
) -> "Reading":
    """Read lists with a line for each video: path, number of the class, from 0, and often number of frames."""
    from s2vc.manifests.lists import read_lists

    files = [
        (f"split{n}", role, f) for role, given in (("train", train), ("test", test)) for n, f in enumerate(given, 1)
    ]
    if not files:
        raise UserError("give at least one list: --train FILE or --test FILE")

    def count_frames(path: Path) -> int:
        # It takes NumPy and ffmpeg, which no other manifest needs.
        from s2vc.pipeline.stages.video import decode_video

        return decode_video(path, 32, 32, lambda frames: None).frames

    return read_lists(videos, files, classes, columns, count_frames)
