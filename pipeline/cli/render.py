"""`s2vc-prep render`."""

import time
from pathlib import Path

import click
from rich.console import Console

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.opening import open_layout
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cluster.scheduler import Step
from s2vc.pipeline.console.endings import interruptible, tell_notes, tell_unfinished
from s2vc.pipeline.console.options import address_option, cache_argument, workers_option
from s2vc.pipeline.console.progress import clock, progress, size
from s2vc.pipeline.jobs.encode_job import plan_render, render_job
from s2vc.pipeline.jobs.estimate import estimate_render
from s2vc.pipeline.static_cues import RANDOM_STRATEGIES, STRATEGIES
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

TFD_KEEP = 0.2
"""The share the paper's pixel-space baseline keeps."""


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
@workers_option
@address_option
def render_command(
    cache: Path | Layout,
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
    ray_address: str | None,
) -> None:
    """Render CACHE at each alpha (or share to keep) and strategy, all in one pass over the latents.

    Nothing is decoded or encoded again. Run again, it goes on where it was stopped.
    """
    console = Console()
    rule = window_rule(scope, clip_length, frame_step, window_stride)
    variants = wanted_variants(alphas, keeps, strategies, draws, seed, rule)
    with interruptible(console):
        if dry_run:
            tell_estimate(open_layout(cache), variants, console)
        else:
            run_render(cache, variants, ray_address, workers, console)


def window_rule(scope: str, clip_length: int | None, frame_step: int | None, window_stride: int | None) -> WindowRule:
    if scope == "clip":
        return WindowRule("clip", clip_length or 16, frame_step or 1, window_stride)
    if clip_length or frame_step or window_stride:
        raise UserError("--clip-length, --frame-step and --window-stride go with --scope clip")
    return WindowRule()


def wanted_variants(
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    strategies: tuple[str, ...],
    draws: int,
    seed: int,
    rule: WindowRule,
) -> list[Variant]:
    """Every level with every strategy, each once. Raises UserError for what makes no variant."""
    levels: list[dict[str, float]] = [{"alpha": a} for a in alphas] + [{"keep": q} for q in keeps]
    if not levels and set(strategies) != {"tfd"}:
        raise UserError("say how much to suppress: --alpha 0.5, or --keep 0.2")
    variants: dict[str, Variant] = {}
    for strategy in dict.fromkeys(strategies):
        own = [level for level in levels if "keep" in level] or [{"keep": TFD_KEEP}]
        for level in own if strategy == "tfd" else levels:
            for draw in range(draws if strategy in RANDOM_STRATEGIES else 1):
                chosen = {"draw": draw, "seed": seed} if strategy in RANDOM_STRATEGIES else {}
                try:
                    variant = Variant(strategy, **level, **chosen, rule=rule)  # type: ignore[arg-type]
                except ValueError as error:
                    raise UserError(str(error)) from error
                variants[variant.name] = variant
    return list(variants.values())


def tell_estimate(layout: Layout, variants: list[Variant], console: Console) -> None:
    job = plan_render(layout, variants)
    estimate = estimate_render(job)
    names = ", ".join(v.name for v in variants)
    console.print(f"{names}: {job.frames_left} frames to render in {len(job.chains)} shards", highlight=False)
    console.print(
        f"about {size(estimate.bytes)} on disk and {clock(estimate.seconds)} on {estimate.cores} cores here "
        f"({estimate.seconds_per_frame * 1000:.1f} ms a frame and core, measured just now)",
        highlight=False,
    )


def run_render(
    cache: Path | Layout, variants: list[Variant], address: str | None, workers: int | None, console: Console
) -> None:
    """Render with progress and a summary; leaves with exit code 1 where something is not done."""
    started = time.monotonic()
    layout = open_layout(cache)
    with render_job(layout, variants, address, workers) as job:
        console.print(
            f"{len(variants)} variants, {job.frames_left} frames to render in {len(job.chains)} shards, "
            f"{job.shards_done} shards done before",
            highlight=False,
        )
        with progress("render", len(job.chains), "shards", console) as advance:

            def done(step: Step, receipts: list[Receipt]) -> None:
                advance(1, sum(r.frames for r in receipts))

            outcome = job.run(done)
    tell_notes(job.notes, console)
    if outcome.storage_error:
        tell_unfinished(outcome, console)
    sizes = layout.sizes("motion")
    for variant in variants:
        console.print(f"{variant.name}: {size(sizes.get(f'motion/{variant.name}', 0))}", highlight=False)
    console.print(f"rendered in {clock(time.monotonic() - started)}", highlight=False)
    tell_unfinished(outcome, console)
