"""Define the command `s2vc-prep demo`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.options import FOLDER, shared_device_option, workers_option
from s2vc.pipeline.console.progress import clock, progress
from s2vc.pipeline.console.terminal import make_console, print_json, print_paths
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.jobs.encode_options import EncodeOptions
from s2vc.pipeline.variants import EXAMPLE_ALPHAS, Variant

if TYPE_CHECKING:
    from s2vc.pipeline.cache import Cache
    from s2vc.pipeline.demo.sample_files import DemoPaths


SHARD_SIZE = 4
"""The 24 videos make six shards of this many videos, so that several cores have work."""


MORE_THAN_ALL = 1.005
"""A share from here on is printed as more than 100%."""


@click.command("demo")
@click.option("--out", type=FOLDER, default=Path("s2vc-demo"), help="Folder for videos, masks, cache and preview.")
@json_option
@shared_device_option
@workers_option
def demo_command(out: Path, workers: int | None, device: str | None) -> None:
    """Draw 24 labelled videos, encode them, render them at alpha 0.1, 0.3, 0.5 and 0.8, and picture the result.

    Toys move in six ways over still backgrounds. Their masks are kept, so that it is known what is background.
    """
    from s2vc.pipeline.cache import Cache
    from s2vc.pipeline.cluster.connection import cluster
    from s2vc.pipeline.console.run_jobs import run_encode, run_render
    from s2vc.pipeline.demo.sample_files import DemoPaths
    from s2vc.pipeline.preview.pictures import write_preview

    console = make_console()
    started = time.monotonic()
    paths = DemoPaths(out)
    if out.exists() and any(out.iterdir()) and not paths.videos.exists():
        raise UserError(f"{out} holds something else; choose another --out")
    with cluster(None, workers):
        if not paths.manifest.exists():
            draw(paths, console)
        options = EncodeOptions(shard_size=SHARD_SIZE)
        run_encode(paths.manifest, paths.videos, paths.cache, options, None, workers, console, device=device)
        variants = [Variant(alpha=alpha) for alpha in EXAMPLE_ALPHAS]
        run_render(paths.cache, variants, None, workers, console, device=device)
        cache = Cache(paths.cache)
        contrast = show_contrast(cache, paths, console)
        write_preview(cache, paths.preview, device=device)
    console.print(f"Look at {paths.preview}; all of it took {clock(time.monotonic() - started)}.")
    print_json({"cache": str(paths.cache), "preview": str(paths.preview), "contrast_left": contrast})


def draw(paths: "DemoPaths", console: Console) -> None:
    """Draw the sample's videos and masks, with progress."""
    from s2vc.pipeline.demo.sample_files import sample_size, write_sample

    with progress("draw", sample_size(), "videos", console) as advance:
        for _ in write_sample(paths):
            advance(1, 0)
    console.print(f"{sample_size()} videos, with masks beside them:")
    print_paths(console, paths.videos, paths.manifest)


def show_contrast(cache: "Cache", paths: "DemoPaths", console: Console) -> list[dict[str, Any]]:
    """Print a table of what suppression leaves of backgrounds and movers, and return it."""
    from s2vc.pipeline.demo.sample_files import contrast_left

    table = Table("variant", "latents kept", "contrast left: background", "mover")
    left = contrast_left(cache, paths)
    for row in left.itertuples():
        table.add_row(row.variant, f"{row.kept:.0%}", f"{row.background:.0%}", f"{row.mover:.0%}")
    console.print(table)
    if (left[["background", "mover"]] >= MORE_THAN_ALL).any(axis=None):
        console.print(
            "over 100%: suppression changes latents of movers, too, which can spread their grey values wider than in "
            "the original"
        )
    return json.loads(left.to_json(orient="records"))
