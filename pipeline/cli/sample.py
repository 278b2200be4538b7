"""Define the command `s2vc-prep sample`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from s2vc.manifests.choices import TEST_PARTS
from s2vc.pipeline.cache.settings import OWN_CACHE
from s2vc.pipeline.choices import CRF
from s2vc.pipeline.console.options import FOLDER, Size, workers_option
from s2vc.pipeline.console.progress import count, progress
from s2vc.pipeline.console.terminal import make_console, print_next, print_paths, print_result
from s2vc.pipeline.storage.held import held

if TYPE_CHECKING:
    from s2vc.pipeline.demo.controlled_set import SampleFolder, SampleSettings


MOST = 9999
"""There are at most this many videos of each motion, since their names have four digits."""


@click.command("sample")
@click.argument("out", type=FOLDER)
@click.option("--per-class", type=click.IntRange(1, MOST), required=True, help="Training videos of each motion.")
@click.option(
    "--test-per-class",
    type=click.IntRange(1, MOST),
    help="Videos of each motion in each of the tests.  [default: a quarter of --per-class]",
)
@click.option("--test", "tests", type=click.Choice(TEST_PARTS), multiple=True, help="Repeatable.  [default: all]")
@click.option(
    "--shift", type=float, default=0.0, help="RHO: how often, in training, the scene goes with the motion, 0 to 1."
)
@click.option("--frames", type=click.IntRange(1, 10_000), default=36, help="Of a video, at 24 a second.")
@click.option("--size", type=Size(), default="96x128")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0)
@click.option("--crf", type=click.IntRange(0, 51), default=CRF, help="Of H.264: 0 is lossless, 51 the worst.")
@workers_option
def sample_command(
    out: Path,
    per_class: int,
    test_per_class: int | None,
    tests: tuple[str, ...],
    shift: float,
    frames: int,
    size: tuple[int, int],
    seed: int,
    crf: int,
    workers: int | None,
) -> None:
    """Draw the controlled set into OUT: toys that move in 12 ways over 12 families of background.

    Each video has two labels, motion and scene. In training the scene is the one that belongs to the motion with
    probability RHO; five tests break this link: neutral, matched, swapped, and neutral ones with a camera that shakes
    or pans. Writes videos, the toys' masks, manifest.csv, and sheet.png to look at. Run again, it resumes where it was
    stopped.
    """
    from s2vc.pipeline.demo.controlled_set import SampleFolder, SampleSettings

    console = make_console()
    tests = tuple(part for part in TEST_PARTS if part in tests or not tests)
    counts = per_class, test_per_class or max(per_class // 4, 1)
    settings = SampleSettings(*counts, shift, frames, size, seed, crf, tests)
    settings.check()
    folder = SampleFolder(out)
    with held(out):
        folder.open(settings)
        draw(folder, settings, workers, console)
    console.print(f"Look at {folder.contact_sheet}.")
    print_next(console, "s2vc-prep", "encode", folder.manifest, "--out", out / OWN_CACHE)


def draw(folder: "SampleFolder", settings: "SampleSettings", workers: int | None, console: Console) -> None:
    """Draw the videos that are missing in a set, with progress; then write its contact sheet and last its manifest."""
    from s2vc.pipeline.demo.controlled_set import draw_missing, write_labels
    from s2vc.pipeline.demo.controlled_sheet import write_sheet

    videos = settings.plan()
    missing = [v for v in videos if not folder.has(v.video_id)]
    with progress("draw", len(missing), "videos", console) as advance:
        for _ in draw_missing(folder, settings, missing, workers):
            advance(1, settings.frames)
    if not folder.contact_sheet.exists():
        write_sheet(folder, settings)
    write_labels(folder, videos)
    counted = f"{count(len(videos), 'video')} in {folder.videos}, {len(missing)} of them drawn now; masks beside them"
    print_result(console, counted)
    print_paths(console, folder.manifest)
