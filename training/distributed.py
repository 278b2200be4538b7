"""Training in several processes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2vc.pipeline.cluster.train_processes import follower, run_processes, share_cores
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import StepReader
from s2vc.training.methods import open_clips
from s2vc.training.run_folder import RunFolder, TrainingStep
from s2vc.training.settings import TrainingSettings
from s2vc.training.trainer import OnStep, train

START_FILE = ".start"
"""In a file of this name in the run's folder the first process leaves the sentence that it announces."""

STOP_FILE = ".stop"
"""While a file of this name is in the run's folder, the processes end after the step they are in."""


def train_on_ray(
    settings: TrainingSettings,
    folder: RunFolder,
    address: str | None,
    on_step: OnStep,
    should_stop: Callable[[], bool],
    announce: Callable[[str], None],
    on_cpus: bool = False,
) -> None:
    """Run `train` in settings.workers processes, which share a folder (s2vc.pipeline.cluster.train_processes).

    Steps are read from metrics.csv, which the first process writes. on_cpus: GPUs are left alone.
    Raises UserError for what `train` raises, and where the cluster is too small; raises Stopped where processes keep
    dying.
    """
    start_file, stop_file = folder.root / START_FILE, folder.root / STOP_FILE
    config = {"settings": dataclasses.asdict(settings), "folder": str(folder.root.absolute())}
    follow = follower(StepReader(folder.metrics, TrainingStep), on_step, should_stop, stop_file)

    def poll() -> None:
        if start_file.exists():
            announce(start_file.read_text(encoding="utf-8"))
            start_file.unlink()
        follow()

    try:
        run_processes(_worker, config, settings.workers, folder.root / "ray", address, poll, on_cpus)
    finally:
        start_file.unlink(missing_ok=True)
        stop_file.unlink(missing_ok=True)


def _worker(config: dict[str, Any]) -> None:
    """Run in each process, where Ray has set up torch.distributed."""
    from ray.train import get_context
    from ray.train.torch import get_device

    settings = TrainingSettings(**config["settings"])
    folder = RunFolder(Path(config["folder"]))
    device = get_device()
    share_cores(device)
    train(
        settings,
        open_clips(settings),
        folder,
        device,
        should_stop=(folder.root / STOP_FILE).exists,
        announce=lambda sentence: files.write_text(folder.root / START_FILE, sentence),
        processes_here=get_context().get_local_world_size(),
    )
