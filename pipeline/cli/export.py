"""Define the command `s2vc-prep export`."""

import time
from pathlib import Path

import click
from rich.console import Console

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.exit_codes import EXIT_FAILED_VIDEOS, EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.options import FOLDER, cache_argument
from s2vc.pipeline.console.progress import clock, progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.export.video_files import FORMATS, ORIGINAL, Export, plan_export
from s2vc.pipeline.stages.ffmpeg_process import choose_ffmpeg


@click.command("export")
@cache_argument
@click.option(
    "--variant",
    "variants",
    multiple=True,
    required=True,
    metavar="NAME",
    help=f"A rendered variant, such as alpha0.5-zero-video, or '{ORIGINAL}': the stored frames. Repeatable.",
)
@click.option("--out", type=FOLDER, required=True, help="Folder for OUT/VARIANT/, outside the cache.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="mp4",
    help="mp4: H.264; an odd height or width is made even by repeating the last row or column. "
    "frames: a folder of JPEGs for each clip.",
)
@click.option("--video", "video_ids", multiple=True, metavar="ID", help="Only this video_id; repeatable.")
@click.option("--overwrite", is_flag=True, help="Write clips anew that are there already.")
def export_command(
    cache: Path | CacheStorage,
    variants: tuple[str, ...],
    out: Path,
    form: str,
    video_ids: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write variants of CACHE as clips that play anywhere, in the source's folders and at its frame rate.

    A video becomes OUT/VARIANT/<video_id without extension>.mp4, or a folder of that name with img_00001.jpg and so
    on; videos that differ in their extensions alone keep them. In variants of scope clip each window is a clip, and its
    number ends the name (_w000, _w001, ...). Nothing is written if two clips would have the same name, or if a clip
    already exists. Failed videos are skipped.
    Exit code 3: some videos have names that no file can have (they are listed); 2: a mistake in the call.
    """
    console = make_console()
    export = plan_export(Cache(cache), variants, out, form, video_ids, overwrite)
    try:
        run_export(export, console)
    except KeyboardInterrupt:
        console.print("Stopped. Clips that are finished are kept; --overwrite writes all of them anew.")
        raise Exit(EXIT_INTERRUPTED) from None
    for video_id, reason in export.refused.items():
        console.print(f"{video_id!r} is not exported: {reason}")
    if export.refused:
        raise Exit(EXIT_FAILED_VIDEOS)


def run_export(export: Export, console: Console) -> None:
    """Write the clips with progress and a summary."""
    started = time.monotonic()
    if export.form == "mp4" and (refused := choose_ffmpeg(encoder=True)[1]):
        console.print(refused)
    with progress("export", len(export.clips), "clips", console) as advance:
        for clip in export.clips:
            export.write(clip)
            advance(1, clip.frames)
    videos = len({clip.video_id for clip in export.clips})
    skipped = f"; {export.failed} failed skipped" if export.failed else ""
    console.print(
        f"{_count(len(export.clips), 'clip')} of {_count(videos, 'video')} in {export.out}, "
        f"{_count(sum(clip.frames for clip in export.clips), 'frame')}{skipped}; {clock(time.monotonic() - started)}",
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
