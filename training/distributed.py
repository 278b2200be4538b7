"""Training in several processes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2vc.pipeline.cluster.train_processes import follower, run_processes, share_cores
from s2vc.pipeline.storage.step_log import StepReader
from s2vc.training.methods import open_clips
from s2vc.training.run_folder import RunFolder, TrainingStep
from s2vc.training.settings import TrainingSettings
from s2vc.training.trainer import OnStep, train

STOP_FILE = ".stop"
"""While a file of this name is in the run's folder, the processes end after the step they are in."""


def train_on_ray(
    settings: TrainingSettings, folder: RunFolder, address: str | None, on_step: OnStep, should_stop: Callable[[], bool]
) -> None:
    """Run `train` in settings.workers processes, which share a folder (s2vc.pipeline.cluster.train_processes).

    Steps are read from metrics.csv, which the first process writes. Raises UserError for what `train` raises, and where
    the cluster is too small; raises Stopped where processes keep dying.
    """
    stop_file = folder.root / STOP_FILE
    config = {"settings": dataclasses.asdict(settings), "folder": str(folder.root.absolute())}
    poll = follower(StepReader(folder.metrics, TrainingStep), on_step, should_stop, stop_file)
    try:
        run_processes(_worker, config, settings.workers, folder.root / "ray", address, poll)
    finally:
        stop_file.unlink(missing_ok=True)


def _worker(config: dict[str, Any]) -> None:
    """Run in each process, where Ray has set up torch.distributed."""
    from ray.train.torch import get_device

    settings = TrainingSettings(**config["settings"])
    folder = RunFolder(Path(config["folder"]))
    device = get_device()
    share_cores(device)
    train(settings, open_clips(settings), folder, device, should_stop=(folder.root / STOP_FILE).exists)
