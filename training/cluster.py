"""The same training function in several processes under Ray Train, on one machine or a cluster."""

import dataclasses
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from manifests.errors import UserError
from pipeline.stages import cluster
from training.methods import open_clips
from training.run import MetricsReader, RunFolder, Stopped
from training.settings import Settings
from training.trainer import Show, train

MAX_FAILURES = 3
"""Times the processes are started anew, from the last checkpoint, after one of them died."""

POLL_SECONDS = 1.0
STOP = ".stop"
"""A file in the run's folder: the processes end after the step they are in."""


def train_on_ray(
    settings: Settings, folder: RunFolder, address: str | None, show: Show, stop: Callable[[], bool]
) -> None:
    """`train` in settings.workers processes, each with a GPU where the cluster has enough; what they share is a folder.

    Steps are read from metrics.csv, which the first process writes. A process that dies takes the others with it, and
    all go on from the last checkpoint. Raises UserError for what `train` raises, and where the cluster is too small;
    Stopped where processes keep dying.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with cluster(address, None if address else max(settings.workers, os.cpu_count() or 1)):
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        logging.getLogger("ray.train").setLevel(logging.ERROR)
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"settings": dataclasses.asdict(settings), "folder": str(folder.root.absolute())},
            scaling_config=ScalingConfig(num_workers=settings.workers, use_gpu=_gpu_for_each(settings.workers)),
            run_config=RunConfig(
                name="ray",
                storage_path=str(folder.root.absolute()),
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
            ),
        )
        asked = folder.root / STOP
        asked.unlink(missing_ok=True)
        try:
            beside(lambda: _fit(trainer), _follower(folder, show, stop))
        finally:
            asked.unlink(missing_ok=True)


def _gpu_for_each(workers: int) -> bool:
    """Whether there is a GPU for each worker; raises UserError where there is not even a CPU."""
    import ray

    resources = ray.cluster_resources()
    if resources.get("CPU", 0) < workers:
        raise UserError(f"{workers} workers need as many CPUs; the cluster has {resources.get('CPU', 0):.0f}")
    return bool(resources.get("GPU", 0) >= workers)


def _fit(trainer: Any) -> None:
    from ray.train import TrainingFailedError

    try:
        trainer.fit()
    except TrainingFailedError as error:
        causes = [_users_error(e) for e in getattr(error, "worker_failures", {}).values()]
        if told := next((c for c in causes if c), None):
            raise told from error
        raise Stopped(
            f"the training processes died {MAX_FAILURES + 1} times: {_first_line(error)}; "
            "the last checkpoint is whole: run the same command again to go on"
        ) from error


def _users_error(error: BaseException | None) -> UserError | None:
    while error is not None and not isinstance(error, UserError):
        error = getattr(error, "cause", None) or getattr(error, "_base_exc", None) or error.__cause__
    return error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _worker(config: dict[str, Any]) -> None:
    """What each process runs; Ray has set up torch.distributed."""
    from ray.train.torch import get_device

    settings = Settings(**config["settings"])
    folder = RunFolder(Path(config["folder"]))
    device = get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.workers))
    train(settings, open_clips(settings), folder, device, stop=(folder.root / STOP).exists)


def beside(work: Callable[[], None], poll: Callable[[], None]) -> None:
    """Do the work in a thread, and poll every POLL_SECONDS from this one; raises what the work raises.

    In the main thread, Ray Train would take Ctrl-C for itself, and end without a checkpoint.
    """
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        poll()
    if failure:
        raise failure[0]


def _follower(folder: RunFolder, show: Show, stop: Callable[[], bool]) -> Callable[[], None]:
    """A function that shows the steps that are new in metrics.csv, and hands on the wish to stop."""
    reader = MetricsReader(folder.metrics)
    shown = max((record.step for record in reader.new()), default=0)

    def poll() -> None:
        nonlocal shown
        for record in reader.new():
            if record.step > shown:  # steps that were lost with a process are done again
                shown = record.step
                show(record)
        if stop():
            (folder.root / STOP).touch()

    return poll
