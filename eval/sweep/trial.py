"""A trial of a sweep in a process of its own: it is trained, or resumed, and evaluated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.sweep.plan import SweepFolder, Trial
from s2vc.eval.tasks import linear, order, retrieval
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.storage.held import held
from s2vc.training.curves import plot_curves
from s2vc.training.methods import chance_top1, open_cache
from s2vc.training.prepare import prepare_run
from s2vc.training.run_folder import read_metrics
from s2vc.training.trainer import train

Numbers = dict[str, float]

TASKS: dict[str, Callable[[Evaluation], Numbers]] = {
    "retrieval": lambda e: {f"recall@{k}": share for k, share in retrieval(e)[1].items()},
    "linear": lambda e: linear(e)[1].numbers,
    "order": lambda e: order(e)[1].numbers,
}
"""`--eval` names these, each by its defaults."""


def run_trial(root: Path, trial: Trial, shared: dict[str, Any], tasks: list[str], cpus: int) -> None:
    """Bring a trial to its end in the sweep's folder; what is done already is not done again.

    Where the sweep is to stop, it ends after the step it is in, or before the next task. Raises UserError where its
    clips or settings do not allow it.
    """
    torch.set_num_threads(max(1, cpus))
    folder = SweepFolder(root)
    if shared["loader_workers"] is None:  # A run by itself takes all the CPUs that are spare.
        shared = {**shared, "loader_workers": cpus - 1}
    device = choose_device()
    run = prepare_run([trial.settings(shared)], folder.run(trial), device)
    with held(run.folder.root):
        train(run.settings, run.clips, run.folder, device, should_stop=folder.stop.exists)
    plot_curves(read_metrics(run.folder.metrics), chance_top1(run.settings, run.clips), run.folder.curves)
    settings = run.settings
    evaluation = Evaluation(
        cache=open_cache(settings),
        checkpoint=str(run.folder.root),
        evaluated=load_evaluated_backbone(str(run.folder.root)),
        split=settings.split,
        size=settings.size,
        frames=settings.clip_length,
        frame_step=settings.frame_step,
        seed=trial.seed,
        out=folder.results,
        console=Console(quiet=True),
    )
    numbers = folder.numbers(trial)
    for task in tasks:
        if folder.stop.exists():
            return
        if task not in numbers:
            numbers[task] = TASKS[task](evaluation)
            folder.write_numbers(trial, numbers)
