"""A run as a person sees it: what is trained, progress, curves on disk, Ctrl-C, and how it ended."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console

from pipeline.cli.ending import stopping
from pipeline.progress import Advance, clock, progress
from training.block_methods import BLOCK_METHODS
from training.curves import plot_curves
from training.methods import chance
from training.run import RunFolder, StepRecord, read_metrics
from training.settings import Settings
from training.start import Run
from training.trainer import total_steps, train

CURVES_SECONDS = 30.0
"""Between two drawings of the curves."""


def train_shown(run: Run, device: torch.device, console: Console, ray_address: str | None = None) -> bool:
    """Train, or go on training, a run that was started; True where all its epochs are done."""
    settings, clips, folder = run.settings, run.clips, run.folder
    for sentence in run.told:
        console.print(sentence, highlight=False)
    steps = total_steps(settings, len(clips))
    queue = "" if settings.method in ("supervised", *BLOCK_METHODS) else f", queue {settings.queue}"
    console.print(
        f"{settings.method} with {settings.backbone} on {len(clips)} videos, {settings.clip_length} frames of "
        f"{settings.size}x{settings.size}: {settings.epochs} epochs, {steps} steps of {settings.batch} clips"
        f"{queue}; {folder.root}",
        highlight=False,
    )
    started = time.monotonic()
    with _shown(folder, steps, settings, chance(settings, clips), console) as show, stopping(console) as stop:
        if settings.workers:
            from training.cluster import train_on_ray

            train_on_ray(settings, folder, ray_address, show, stop)
        else:
            train(settings, clips, folder, device, show, stop)
        stopped = stop()
    done = _tell_end(folder, steps, time.monotonic() - started, console)
    if stopped and not done:
        console.print("Stopped. The checkpoint is written: run the same command again to go on.")
    return done


@contextmanager
def _shown(
    folder: RunFolder, steps: int, settings: Settings, guessed: float, console: Console
) -> Iterator[Callable[[StepRecord], None]]:
    """Progress on the screen, and the curves on disk now and then."""
    drawn = time.monotonic()
    with progress("train", steps, "steps", console, counted="clips") as advance:

        def show(record: StepRecord) -> None:
            nonlocal drawn
            _advance(advance, record, settings)
            if time.monotonic() - drawn > CURVES_SECONDS:
                plot_curves(read_metrics(folder.metrics), guessed, folder.curves)
                drawn = time.monotonic()

        yield show
    plot_curves(read_metrics(folder.metrics), guessed, folder.curves)


def _advance(advance: Advance, record: StepRecord, settings: Settings) -> None:
    advance(
        1,
        settings.batch,
        f"epoch {record.epoch}, loss {record.loss:.3f}, top-1 {record.top1:.2f}, waiting {record.data_wait:.0%}",
        record.step,
    )


def _tell_end(folder: RunFolder, steps: int, seconds: float, console: Console) -> bool:
    records = read_metrics(folder.metrics)
    last = records[-max(1, len(records) // 10) :]
    means = {name: sum(getattr(r, name) for r in last) / len(last) for name in ("loss", "top1", "top5", "batch_top1")}
    within = "" if math.isnan(means["batch_top1"]) else f", among a batch's keys {means['batch_top1']:.1%}"
    console.print(
        f"{records[-1].step} of {steps} steps done in {clock(seconds)}; over the last {len(last)}: loss "
        f"{means['loss']:.3f}, top-1 {means['top1']:.1%}{within}, top-5 {means['top5']:.1%}",
        highlight=False,
    )
    console.print(f"{folder.checkpoint}, {folder.metrics.name}, {folder.curves.name}", highlight=False)
    return records[-1].step >= steps
