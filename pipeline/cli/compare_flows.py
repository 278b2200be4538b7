"""Define the command `s2vc-prep compare-flows`."""

from pathlib import Path

import click

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import CACHE, FOLDER, device_option, threads_option, with_local_cache
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.flow.architecture import PRECISIONS


@click.command("compare-flows")
@click.argument("flows", nargs=-1, required=True, metavar="FLOW...")
@with_local_cache(click.option("--on", "cache", type=CACHE, required=True, help="A cache, whose clips are taken."))
@click.option("--videos", type=click.IntRange(1), default=12, help="Of the cache, evenly spaced.")
@click.option("--out", type=FOLDER, default=Path("flows"), help="Folder for flows.csv and flows.png.")
@click.option("--precision", type=click.Choice(["auto", *PRECISIONS]), default="auto", help="Of the subnets.")
@device_option
@json_option
@threads_option
def compare_flows_command(
    flows: tuple[str, ...], cache: Path | CacheStorage, videos: int, out: Path, precision: str, device: str | None
) -> None:
    """Judge each FLOW (a file, 'default', 'steady', 'untrained') by what it is for, and compare them in one table.

    On clips of a cache the table shows which share of the latents each alpha keeps, and how far the choice of latents
    stays the same when the clip is re-compressed. On the built-in sample, whose movers are known, it shows how much is
    left of movers and of backgrounds. The choice and what is left are measured at alpha 0.5, and at the alpha of each
    flow that keeps 10 % of the latents. The table also shows what encoding costs.
    """
    from s2vc.pipeline.cli.compare_session import compare_flows

    compare_flows(flows, cache, videos, out, precision, device)
