"""Define the command `s2vc-prep preview`."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.choices import PREVIEW_COLUMNS, PREVIEW_SECONDS, PREVIEW_VIDEOS
from s2vc.pipeline.console.completion import complete_variant
from s2vc.pipeline.console.options import OUTPUT, cache_argument, device_option, threads_option
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console, print_paths
from s2vc.pipeline.reporting import Advance
from s2vc.pipeline.variants import Variant

if TYPE_CHECKING:
    from s2vc.pipeline.cache import Cache
    from s2vc.pipeline.preview.strips import VideoStrips


@click.command("preview")
@cache_argument
@click.option(
    "--video",
    "video_ids",
    metavar="ID",
    multiple=True,
    help=f"Repeatable.  [default: one of each class, up to {PREVIEW_VIDEOS}]",
)
@click.option("--alpha", "alphas", type=float, multiple=True, help="Suppress latents with STD < alpha; repeatable.")
@click.option("--keep", "keeps", type=float, multiple=True, help="Or: keep this share of the latents; repeatable.")
@click.option(
    "--variant",
    "names",
    shell_complete=complete_variant,
    metavar="NAME",
    multiple=True,
    help="Strategy and scope by name, such as alpha0.5-noise-clip16; repeatable.  [default: what is rendered]",
)
@click.option(
    "--columns",
    type=click.IntRange(1, 64),
    default=PREVIEW_COLUMNS,
    help="Frames of a sheet; tiles across an animation.",
)
@click.option("--seconds", type=click.FloatRange(0.1, 10), default=PREVIEW_SECONDS, help="Of an animation, at most.")
@device_option
@threads_option
@click.option("--out", type=OUTPUT, default=Path("preview.png"), help="Stills: .png. Animation: .gif or .mp4.")
def preview_command(
    cache: Path | CacheStorage,
    video_ids: tuple[str, ...],
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    names: tuple[str, ...],
    columns: int,
    seconds: float,
    device: str | None,
    out: Path,
) -> None:
    """Picture or animate videos of CACHE: the originals, and what each variant makes of them.

    Variants that are not rendered are computed for the frames shown, so that an alpha can be chosen before anything is
    rendered.
    """
    from s2vc.pipeline.cache import Cache
    from s2vc.pipeline.preview.pictures import write_preview

    console = make_console()
    opened = Cache(cache)
    variants = previewed_variants(alphas, keeps, names, opened)

    def show(videos: int) -> AbstractContextManager[Advance]:
        return progress("preview", videos, "videos", console)

    print_computed(write_preview(opened, out, video_ids, variants, columns, seconds, show, device), out, console)


def previewed_variants(
    alphas: tuple[float, ...], keeps: tuple[float, ...], names: tuple[str, ...], cache: "Cache"
) -> list[Variant]:
    """Return the variants asked for, each once, in the order alphas, shares, names.

    Raises UserError for a value or name that makes no variant; for a name, it lists those that are rendered.
    """
    try:
        variants = [Variant(alpha=a) for a in alphas] + [Variant(keep=q) for q in keeps]
    except ValueError as error:
        raise UserError(str(error)) from error
    try:
        variants += [Variant.parse(name) for name in names]
    except ValueError as error:
        rendered = ", ".join(v.name for v in cache.variants()) or "none"
        raise UserError(f"{error}; rendered are {rendered}") from error
    return list({v.name: v for v in variants}.values())


def print_computed(video_strips: "list[VideoStrips]", out: Path, console: Console) -> None:
    """Print which variants were computed for this picture because they are not rendered and, last, its path."""
    fresh = {s.variant.name: None for b in video_strips for s in b.strips if s.fresh and s.variant}
    if fresh:
        console.print(f"computed on the fly, not rendered: {', '.join(fresh)}")
    print_paths(console, out)
