"""A trial of a sweep in a process of its own: it is trained, or resumed, and evaluated."""

from dataclasses import replace
from typing import Any

import torch
from rich.console import Console

from s2vc.eval.defaults import VALIDATION
from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.sweep.plan import SweepFolder, Trial
from s2vc.eval.sweep.protocol import TASKS, Part, Protocol
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.exit_codes import Exit
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.storage.held import held
from s2vc.training.curves import plot_curves
from s2vc.training.loader import readers_on
from s2vc.training.methods import chance_top1, open_cache
from s2vc.training.prepare import PreparedRun, prepare_run
from s2vc.training.run_folder import read_metrics
from s2vc.training.schedule import total_steps
from s2vc.training.trainer import train


def run_trial(
    folder: SweepFolder, trial: Trial, shared: dict[str, Any], protocol: Protocol, cpus: int, device: str | None = None
) -> None:
    """Bring a trial to its end in the sweep's folder; what is done already is not done again.

    Where the sweep is to stop, it ends after the step it is in, or before the next part. Raises UserError where its
    clips or settings do not allow it.
    """
    torch.set_num_threads(max(1, cpus))
    on = choose_device(device)
    if shared["loader_workers"] is None:  # A run by itself takes all the CPUs that are spare.
        shared = {**shared, "loader_workers": readers_on(cpus)}
    run = prepare_run([trial.settings(shared)], folder.run(trial), on)

    def train_run(prepared: PreparedRun) -> bool:
        """Train to the end, or until the sweep is to stop; say whether it got to the end. Fine-tuning takes no more
        memory than the runs are to take."""
        spare_memory = run.settings.activation_checkpointing
        settings, clips = replace(prepared.settings, activation_checkpointing=spare_memory), prepared.clips
        with held(prepared.folder.root):
            done = train(
                settings,
                clips,
                prepared.folder,
                on,
                should_stop=folder.stop.exists,
                on_epoch=prepared.on_epoch,
            )
        return done.total >= total_steps(settings, len(clips))

    train_run(run)
    plot_curves(read_metrics(run.folder.metrics), chance_top1(run.settings, run.clips), run.folder.curves)
    numbers = folder.numbers(trial)
    for part in protocol.parts:
        if folder.stop.exists():
            return
        if part.key not in numbers:
            try:
                numbers[part.key] = TASKS[part.task](
                    _evaluation(folder, trial, run, protocol, part, cpus, device), protocol, train_run
                )
            except Exit:  # Fine-tuning was stopped.
                return
            folder.write_numbers(trial, numbers)


def _evaluation(
    folder: SweepFolder, trial: Trial, run: PreparedRun, protocol: Protocol, part: Part, cpus: int, device: str | None
) -> Evaluation:
    """Describe the evaluation of a part: on the cache of the run and its split, or on another cache."""
    settings, own = run.settings, not protocol.cache
    other = None if own else Cache(protocol.cache, settings.local_cache or "", settings.local_cache_size)
    size, frames = protocol.windows_of(part.task, settings.size, settings.clip_length)
    return Evaluation(
        cache=other or open_cache(settings),
        checkpoint=str(run.folder.root),
        evaluated=load_evaluated_backbone(str(run.folder.root)),
        split=settings.split if own else part.split or protocol.splits[0],
        size=size,
        frames=frames,
        frame_step=settings.frame_step,
        seed=trial.seed,
        out=folder.validation if part.tested == VALIDATION else folder.results,
        console=Console(quiet=True),
        tested=part.tested,
        cpus=cpus,
        device_name=device,
        group=protocol.group,
    )
