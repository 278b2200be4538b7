"""A run as a person sees it: what is trained, progress, curves on disk, Ctrl-C, and how it ended."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console

from s2vc.pipeline.console.endings import stopping
from s2vc.pipeline.console.progress import clock, progress
from s2vc.training.curves import plot_curves
from s2vc.training.learning import JUDGED_OVER, LearningWatch, at_chance, candidates_of, what_to_try
from s2vc.training.methods import chance
from s2vc.training.prepare import Run
from s2vc.training.run_folder import RunFolder, StepRecord, read_metrics
from s2vc.training.settings import Settings, is_contrastive
from s2vc.training.trainer import total_steps, train, warmup_steps

CURVES_SECONDS = 30.0
"""Between two drawings of the curves."""

SLOW_READING = 0.05
"""Share of a step spent waiting for data, from which on the progress line says it."""


def train_shown(run: Run, device: torch.device, console: Console, ray_address: str | None = None) -> bool:
    """Train, or go on training, a run that was started; True where all its epochs are done."""
    settings, clips, folder = run.settings, run.clips, run.folder
    for sentence in run.told:
        console.print(sentence, highlight=False)
    steps = total_steps(settings, len(clips))
    console.print(
        f"{settings.method} with {settings.backbone} on {len(clips)} videos, {settings.clip_length} frames of "
        f"{settings.size}x{settings.size}: {settings.epochs} epochs, {steps} steps of {settings.batch} clips; "
        f"{folder.root}",
        highlight=False,
    )
    started = time.monotonic()
    guessed = chance(settings, clips)
    with _shown(folder, steps, settings, guessed, console) as show, stopping(console) as stop:
        if settings.workers:
            from s2vc.training.distributed import train_on_ray

            train_on_ray(settings, folder, ray_address, show, stop)
        else:
            train(settings, clips, folder, device, show, stop)
        stopped = stop()
    done = _print_end(folder, settings, steps, guessed, time.monotonic() - started, console)
    if stopped and not done:
        console.print("Stopped. The checkpoint is written: run the same command again to go on.")
    return done


@contextmanager
def _shown(
    folder: RunFolder, steps: int, settings: Settings, guessed: float, console: Console
) -> Iterator[Callable[[StepRecord], None]]:
    """Progress on the screen, a warning where nothing is learned, and the curves on disk now and then."""
    drawn = time.monotonic()
    watch = LearningWatch(candidates_of(settings), warmup_steps(settings, steps // settings.epochs))
    with progress("train", steps, "steps", console, counted="steps") as advance:

        def show(record: StepRecord) -> None:
            nonlocal drawn
            if watch.add(record):
                console.print(_warning(settings, record.step, watch.mean), highlight=False)
            advance(1, 1, progress_note(record, watch.mean, settings, guessed), record.step)
            if time.monotonic() - drawn > CURVES_SECONDS:
                plot_curves(read_metrics(folder.metrics), guessed, folder.curves)
                drawn = time.monotonic()

        yield show
    plot_curves(read_metrics(folder.metrics), guessed, folder.curves)


def progress_note(record: StepRecord, batch_top1: float, settings: Settings, guessed: float) -> str:
    """A step for the progress line. batch_top1: mean over the latest steps, NaN with classes, whose chance is guessed.

    Short, so that a line of a log has 100 columns at most.
    """
    if math.isnan(batch_top1):
        learned = f"top-1 {record.top1:.0%} (chance {guessed:.1%})"
    else:
        learned = f"own {_sought(settings)} first: {batch_top1:.1%} (chance {1 / candidates_of(settings):.1%})"
    waiting = f", waiting {record.data_wait:.0%}" if record.data_wait >= SLOW_READING else ""
    return f"loss {record.loss:.2f}, {learned}{waiting}"


def _warning(settings: Settings, step: int, mean: float) -> str:
    among = candidates_of(settings)
    return (
        f"step {step}: over the last {JUDGED_OVER} steps a query found its own {_sought(settings)} first among {among} "
        f"in {mean:.1%}, which guessing reaches as well ({1 / among:.1%}). Try {what_to_try(settings)}"
    )


def _sought(settings: Settings) -> str:
    """What a query looks for; with DPC, a query is a predicted place."""
    return "key" if is_contrastive(settings.method) else "clip"


def _print_end(
    folder: RunFolder, settings: Settings, steps: int, guessed: float, seconds: float, console: Console
) -> bool:
    """How far the run is, and whether it learned, over its last tenth; True where it is done."""
    records = read_metrics(folder.metrics)
    last = records[-max(1, len(records) // 10) :]
    done = records[-1].step >= steps
    console.print(
        f"{records[-1].step} of {steps} steps done in {clock(seconds)}; over the last {len(last)}: "
        f"{_learned(last, settings, guessed)}",
        highlight=False,
    )
    if done and at_chance([r.batch_top1 for r in last], candidates_of(settings)):
        console.print(f"Guessing may reach that as well. Try {what_to_try(settings)}", highlight=False)
    console.print(f"{folder.checkpoint}, {folder.metrics.name}, {folder.curves.name}", highlight=False)
    return done


def _learned(records: list[StepRecord], settings: Settings, guessed: float) -> str:
    """Means of steps: loss, and top-1 beside chance, within the batch and, where it is another one, of the logits."""
    loss, top1, top5, own = (
        sum(getattr(r, name) for r in records) / len(records) for name in ("loss", "top1", "top5", "batch_top1")
    )
    told = [f"loss {loss:.3f}"]
    if not math.isnan(own):
        among = candidates_of(settings)
        told.append(f"own {_sought(settings)} first among {among}: {own:.1%} (chance {1 / among:.1%})")
    if not is_contrastive(settings.method) or settings.negatives == "queue":
        told.append(f"top-1 {top1:.1%} (chance {guessed:.1%})")
    return ", ".join([*told, f"top-5 {top5:.1%}"])
