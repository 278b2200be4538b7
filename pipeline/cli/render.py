"""Define the command `s2vc-prep render`."""

from pathlib import Path

import click

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.choices import STRATEGIES
from s2vc.pipeline.console.options import address_option, cache_argument, shared_device_option, workers_option
from s2vc.pipeline.console.terminal import make_console, print_json, print_next
from s2vc.pipeline.console.variant_options import wanted_variants, window_rule
from s2vc.pipeline.console.verbosity import json_option


@click.command("render")
@cache_argument
@click.option("--alpha", "alphas", type=float, multiple=True, help="Suppress latents with STD < alpha; repeatable.")
@click.option("--keep", "keeps", type=float, multiple=True, help="Or: keep this share of the latents; repeatable.")
@click.option(
    "--strategy",
    "strategies",
    type=click.Choice(STRATEGIES),
    multiple=True,
    default=["zero"],
    help="Repeatable.",
)
@click.option("--draws", type=click.IntRange(1), default=1, help="Renderings of each random strategy.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the random strategies.")
@click.option("--scope", type=click.Choice(["video", "clip"]), default="video", help="Frames the STD is taken over.")
@click.option("--clip-length", type=click.IntRange(2), help="Frames of a window of scope clip.  [default: 16]")
@click.option("--frame-step", type=click.IntRange(1), help="Between frames of a window.  [default: 1]")
@click.option("--window-stride", type=click.IntRange(1), help="Between starts.  [default: no overlap]")
@click.option("--dry-run", is_flag=True, help="Print bytes and time, and stop there.")
@json_option
@shared_device_option
@workers_option
@address_option
def render_command(
    cache: Path | CacheStorage,
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    strategies: tuple[str, ...],
    draws: int,
    seed: int,
    scope: str,
    clip_length: int | None,
    frame_step: int | None,
    window_stride: int | None,
    dry_run: bool,
    workers: int | None,
    device: str | None,
    ray_address: str | None,
) -> None:
    """Render CACHE at each alpha (or share to keep) and strategy, all in one pass over the latents.

    Nothing is decoded or encoded again. Run again, it resumes where it was stopped.
    """
    from s2vc.pipeline.console.run_jobs import print_estimate, run_render

    console = make_console()
    rule = window_rule(scope, clip_length, frame_step, window_stride)
    variants = wanted_variants(alphas, keeps, strategies, draws, seed, rule)
    if dry_run:
        print_estimate(open_storage(cache), variants, workers, console, print_json)
    else:
        run_render(cache, variants, ray_address, workers, console, print_json, device)
        clips = ("--clip-length", rule.clip_length, "--frame-step", rule.frame_step) if rule.scope == "clip" else ()
        print_next(console, "s2vc-train", cache, "--variant", variants[0].name, *clips)
