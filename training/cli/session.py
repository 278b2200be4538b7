"""A run as a person sees it: what is trained, progress, curves on disk, Ctrl-C, and how it ended."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console

from s2vc.pipeline.console.endings import stopping
from s2vc.pipeline.console.progress import clock, count, progress
from s2vc.pipeline.console.terminal import print_detail, print_paths, print_result
from s2vc.pipeline.storage.held import held
from s2vc.training.curves import plot_curves
from s2vc.training.learning import AVERAGED_STEPS, LearningWatch, at_chance, best_before, candidate_count, suggestions
from s2vc.training.methods import chance_top1
from s2vc.training.prepare import PreparedRun
from s2vc.training.run_folder import RunFolder, TrainingStep, last_tenth, mean_of, read_metrics
from s2vc.training.schedule import total_steps, warmup_steps
from s2vc.training.settings import TrainingSettings, is_contrastive, settings_yaml
from s2vc.training.trainer import train

CURVES_SECONDS = 30.0
"""The curves are drawn again after this time."""

SHOWN_DATA_WAIT = 0.05
"""The progress line names the share of a step spent waiting for data from this share on."""


def train_with_progress(
    run: PreparedRun, device: torch.device, console: Console, ray_address: str | None = None, on_cpus: bool = False
) -> bool:
    """Train a prepared run, or resume its training; True where all its epochs are done. on_cpus: workers leave GPUs
    alone."""
    settings, clips, folder = run.settings, run.clips, run.folder
    for sentence in run.notes:
        console.print(sentence)
    steps = total_steps(settings, len(clips))
    console.print(
        f"{settings.method} with {settings.backbone} on {len(clips)} videos, {settings.clip_length} frames of "
        f"{settings.size}x{settings.size}: {count(settings.epochs, 'epoch')}, {count(steps, 'step')} of "
        f"{settings.batch} clips",
    )
    print_paths(console, folder.root)
    print_detail(console, *settings_yaml(settings).splitlines(), f"device {device}")
    started, trained = time.monotonic(), 0
    chance = chance_top1(settings, clips)
    with (
        held(folder.root),
        _progress_shown(folder, steps, settings, chance, console) as show,
        stopping(console) as stop,
    ):

        def on_step(record: TrainingStep) -> None:
            nonlocal trained
            trained += 1
            show(record)

        if settings.workers:
            from s2vc.training.distributed import train_on_ray

            train_on_ray(settings, folder, ray_address, on_step, stop, console.print, on_cpus)
        else:
            train(settings, clips, folder, device, on_step, stop, run.on_epoch, console.print)
        stopped = stop()
    when = f"in {clock(time.monotonic() - started)}" if trained else "before"
    done = _print_end(folder, settings, steps, chance, when, console)
    if stopped and not done:
        print_result(console, "Stopped. The checkpoint is written: run the same command again to go on.")
    return done


@contextmanager
def _progress_shown(
    folder: RunFolder, steps: int, settings: TrainingSettings, chance: float, console: Console
) -> Iterator[Callable[[TrainingStep], None]]:
    """Show progress on the screen, a warning where nothing is learned, and now and then the curves on disk."""
    drawn = time.monotonic()
    watch = LearningWatch(candidate_count(settings), warmup_steps(settings, steps // settings.epochs))
    with progress("train", steps, "steps", console, counted="steps") as advance:

        def show(record: TrainingStep) -> None:
            nonlocal drawn
            if watch.add(record):
                console.print(_chance_warning(settings, record.step, watch.mean))
            advance(1, 1, progress_note(record, watch.mean, settings, chance), record.step)
            if time.monotonic() - drawn > CURVES_SECONDS:
                plot_curves(read_metrics(folder.metrics), chance, folder.curves)
                drawn = time.monotonic()

        yield show
    plot_curves(read_metrics(folder.metrics), chance, folder.curves)


def progress_note(record: TrainingStep, batch_top1: float, settings: TrainingSettings, chance: float) -> str:
    """Describe a step for the progress line, so briefly that a line of a log has 100 columns at most.
    batch_top1: mean over the latest steps; NaN with classes, where `chance` is what guessing reaches."""
    if math.isnan(batch_top1):
        learned = f"top-1 {record.top1:.0%} (chance {chance:.1%})"
    else:
        learned = f"own {_match_noun(settings)} first: {batch_top1:.1%} (chance {1 / candidate_count(settings):.1%})"
    waiting = f", waiting {record.data_wait:.0%}" if record.data_wait >= SHOWN_DATA_WAIT else ""
    return f"loss {record.loss:.2f}, {learned}{waiting}"


def _chance_warning(settings: TrainingSettings, step: int, mean: float) -> str:
    candidates = candidate_count(settings)
    return (
        f"step {step}: over the last {AVERAGED_STEPS} steps a query found its own {_match_noun(settings)} first among "
        f"{candidates} in {mean:.1%}, which guessing reaches as well ({1 / candidates:.1%}). "
        f"Try {suggestions(settings)}"
    )


def _match_noun(settings: TrainingSettings) -> str:
    """Name what a query looks for; with DPC, a query is a predicted place."""
    return "key" if is_contrastive(settings.method) else "clip"


def _print_end(
    folder: RunFolder, settings: TrainingSettings, steps: int, chance: float, when: str, console: Console
) -> bool:
    """Print how far the run is, and whether it learned over its last tenth; True where it is done. when: its steps were
    done, as the end of a phrase."""
    records = read_metrics(folder.metrics)
    last = last_tenth(records)
    done = records[-1].step >= steps
    print_result(
        console,
        f"{records[-1].step} of {steps} steps done {when}; over the last {count(len(last), 'step')}: "
        f"{_learning_summary(last, settings, chance)}",
    )
    if done and at_chance([r.batch_top1 for r in last], candidate_count(settings)):
        console.print(f"Guessing may reach that as well. Try {suggestions(settings)}")
    elif done and (best := best_before([r.batch_top1 for r in records], candidate_count(settings))):
        console.print(f"It was {best:.1%} before: what was learned went back. Try {suggestions(settings)}")
    print_paths(console, folder.checkpoint, folder.metrics, folder.curves)
    return done


def _learning_summary(records: list[TrainingStep], settings: TrainingSettings, chance: float) -> str:
    """Describe means over steps: loss, and top-1 with its chance, within the batch and, if it differs, of the
    logits."""
    loss, top1, top5, own = (mean_of(records, name) for name in ("loss", "top1", "top5", "batch_top1"))
    notes = [f"loss {loss:.3f}"]
    if not math.isnan(own):
        candidates = candidate_count(settings)
        notes.append(f"own {_match_noun(settings)} first among {candidates}: {own:.1%} (chance {1 / candidates:.1%})")
    if not is_contrastive(settings.method) or settings.negatives == "queue":
        notes.append(f"top-1 {top1:.1%} (chance {chance:.1%})")
    if chance < 1 / 5:  # Of five or fewer, all are among the first five.
        notes.append(f"top-5 {top5:.1%}")
    return ", ".join(notes)
