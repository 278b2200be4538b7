"""This module runs a training function in several processes under Ray Train, on one machine or a cluster."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from s2vc.manifests.errors import Stopped, UserError
from s2vc.pipeline.cluster.connection import cluster
from s2vc.pipeline.processors import available_cpus
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import Record, StepReader

MAX_FAILURES = 3
"""After one of the processes died, all are started again from the last checkpoint, this many times."""

POLL_SECONDS = 1.0


def run_processes(
    worker: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    workers: int,
    storage: Path,
    address: str | None,
    poll: Callable[[], None],
    on_cpus: bool = False,
) -> None:
    """Run worker(config) in processes under torch.distributed, each with a GPU if the cluster has any.

    poll is called every POLL_SECONDS. A process that dies takes the others with it; all are then started again, and the
    worker goes on from its checkpoint. storage: a folder for Ray's notes, removed at the end. on_cpus: GPUs are left
    alone. Raises UserError if a worker raises it or the cluster is too small, and Stopped if processes keep dying.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with cluster(address, None if address else max(workers, os.cpu_count() or 1)):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        use_gpus = gpu_for_each(workers, ray.cluster_resources(), on_cpus)
        logging.getLogger("ray.train").setLevel(logging.ERROR)
        trainer = TorchTrainer(
            worker,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpus),
            run_config=RunConfig(
                name=storage.name,
                storage_path=str(storage.parent.absolute()),
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
            ),
        )
        try:
            run_in_thread(lambda: _fit(trainer), poll)
        finally:
            files.remove(storage)


def share_cores(device: torch.device) -> None:
    """Give this process of `run_processes`, if it runs on a CPU, as many threads as its share of the node's cores."""
    import ray.train

    if device.type == "cpu":
        processes = ray.train.get_context().get_local_world_size()
        torch.set_num_threads(max(1, available_cpus() // processes))


def follower(
    log: StepReader[Record], show: Callable[[Record], None], stop: Callable[[], bool], asked: Path
) -> Callable[[], None]:
    """Return a poll that shows new steps of a log, and makes the file `asked` once stop() is true.

    The file asks the processes to stop; one that is left from an earlier run is removed.
    """
    asked.unlink(missing_ok=True)
    shown = max((record.step for record in log.new()), default=0)

    def poll() -> None:
        nonlocal shown
        for record in log.new():
            if record.step > shown:  # steps that were lost with a process are done again, and were shown before
                shown = record.step
                show(record)
        if stop():
            asked.touch()

    return poll


def run_in_thread(work: Callable[[], None], poll: Callable[[], None]) -> None:
    """Do the work in a thread, and poll every POLL_SECONDS from this one. Raises what the work raises.

    In the main thread, Ray Train would handle Ctrl-C itself, and end without a checkpoint.
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


def gpu_for_each(workers: int, resources: Mapping[str, float], on_cpus: bool) -> bool:
    """Return whether each worker gets a GPU: where the cluster has any, but on_cpus.

    resources: what Ray calls CPU and GPU, over the cluster. Raises UserError where there is no CPU for each worker, and
    where there are GPUs, but not for each: nobody means to train on CPUs then.
    """
    cpus, gpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU"))
    if cpus < workers:
        raise UserError(f"{workers} workers need as many CPUs; the cluster has {cpus}")
    if on_cpus or not gpus:
        return False
    if gpus < workers:
        raise UserError(
            f"{workers} workers need as many GPUs; the cluster has {gpus}: --workers {gpus} takes these, and "
            "--device cpu leaves them alone"
        )
    return True


def _fit(trainer: Any) -> None:
    from ray.train import TrainingFailedError

    try:
        trainer.fit()
    except TrainingFailedError as error:
        causes = [_user_error_of(e) for e in getattr(error, "worker_failures", {}).values()]
        if cause := next((c for c in causes if c), None):
            raise cause from error
        raise Stopped(
            f"the training processes died {MAX_FAILURES + 1} times: {_first_line(error)}; "
            "the last checkpoint is whole: run the same command again to go on"
        ) from error


def _user_error_of(error: BaseException | None) -> UserError | None:
    while error is not None and not isinstance(error, UserError):
        error = getattr(error, "cause", None) or getattr(error, "_base_exc", None) or error.__cause__
    return error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
