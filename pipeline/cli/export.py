"""Define the command `s2vc-prep export`."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.choices import EXPORT_FORMATS, ORIGINAL
from s2vc.pipeline.console.completion import complete_variant
from s2vc.pipeline.console.exit_codes import EXIT_FAILED_VIDEOS, Exit
from s2vc.pipeline.console.options import FOLDER, cache_argument
from s2vc.pipeline.console.progress import clock, count, progress
from s2vc.pipeline.console.step_tally import StepTally
from s2vc.pipeline.console.terminal import make_console, print_result
from s2vc.pipeline.console.variant_options import wanted_variants
from s2vc.pipeline.reporting import followed
from s2vc.pipeline.stages.ffmpeg_process import choose_ffmpeg
from s2vc.pipeline.storage.held import held
from s2vc.pipeline.windows import WindowRule

if TYPE_CHECKING:
    from s2vc.pipeline.export.export import VariantExport


@click.command("export")
@cache_argument
@click.option("--alpha", "alphas", type=float, multiple=True, help="The rendering of this alpha; repeatable.")
@click.option("--keep", "keeps", type=float, multiple=True, help="Or of this share of the latents; repeatable.")
@click.option(
    "--variant",
    "variants",
    shell_complete=complete_variant,
    multiple=True,
    metavar="NAME",
    help=f"Or a rendered variant by its name, such as alpha0.5-zero-clip16, or '{ORIGINAL}': the stored frames. "
    "Repeatable.",
)
@click.option("--out", type=FOLDER, required=True, help="Folder for OUT/VARIANT/, outside the cache.")
@click.option(
    "--format",
    "form",
    type=click.Choice(EXPORT_FORMATS),
    default="mp4",
    help="mp4: H.264; an odd height or width is made even by repeating the last row or column. "
    "frames: a folder of JPEGs for each clip. webdataset: a tar of MP4s and labels for each shard.",
)
@click.option("--video", "video_ids", multiple=True, metavar="ID", help="Only this video_id; repeatable.")
@click.option("--overwrite", is_flag=True, help="Write everything anew, also over files that no export has written.")
def export_command(
    cache: Path | CacheStorage,
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    variants: tuple[str, ...],
    out: Path,
    form: str,
    video_ids: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write variants of CACHE as clips that play anywhere, in the source's folders and at its frame rate.

    A video becomes OUT/VARIANT/<video_id without extension>.mp4, or a folder of that name with img_00001.jpg and so
    on; videos that differ in their extensions alone keep them. In variants of scope clip each window is a clip, and its
    number ends the name (_w000, _w001, ...). Labels and splits stand in OUT/VARIANT/metadata.csv, as Hugging Face's
    videofolder reads them, and in mmaction2's lists (split1_train.txt, ...). Failed videos are skipped.

    Run again, it resumes where it was stopped, and writes anew what was rendered anew.
    Exit code 3: some videos have names that no file can have (they are listed); 2: a mistake in the call.
    """
    from s2vc.pipeline.cache import Cache
    from s2vc.pipeline.export.export import plan_exports

    console = make_console()
    if alphas or keeps or not variants:
        chosen = wanted_variants(alphas, keeps, ("zero",), 1, 0, WindowRule())
        variants = (*(variant.name for variant in chosen), *variants)
    exports = plan_exports(Cache(cache), variants, out, form, video_ids, overwrite)
    with held(out):
        if form != "frames" and (refused := choose_ffmpeg(encoder=True)[1]):
            console.print(refused)
        for export in exports:
            run_export(export, console)
    refusals = {video_id: reason for export in exports for video_id, reason in export.refused.items()}
    for video_id, reason in refusals.items():
        print_result(console, f"{video_id!r} is not exported: {reason}")
    if refusals:
        raise Exit(EXIT_FAILED_VIDEOS)


def run_export(export: "VariantExport", console: Console) -> None:
    """Write the clips of a variant with progress and a summary."""
    started = time.monotonic()
    export.begin()
    clips = [clip for part in export.parts for clip in part.clips]
    with progress("export", len(clips), "clips", console) as advance:
        tally = StepTally(advance, "export")
        for number, part in enumerate(export.parts):
            with followed(partial(tally.ended, "export", number)):
                export.write(part)
            tally.ended("export", number, len(part.clips), part.frames)
    notes = export.end()
    videos = count(len({clip.video_id for clip in clips}), "video")
    before = f", {count(export.done, 'clip')} done before" if export.done else ""
    skipped = f"; {export.failed} failed skipped" if export.failed else ""
    frames = count(sum(clip.frames for clip in clips), "frame")
    spent = clock(time.monotonic() - started)
    print_result(console, f"{count(len(clips), 'clip')} of {videos}, {frames}{before}{skipped}; {spent}")
    for note in notes:
        console.print(note)
    print_result(console, str(export.folder))
