"""The scheduler runs stages over all shards on Ray, as plain tasks in a bounded window.

Tasks are given little more than a shard's number, and return receipts; frames and latents do not pass through Ray.
"""

import dataclasses
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from s2vc.pipeline.cluster.nodes import StallReason, StorageNotShared, require
from s2vc.pipeline.cluster.step_counts import Counts, StepCounts, run_counted
from s2vc.pipeline.storage.failures import speaks_of_damage
from s2vc.pipeline.storage.files import describe_os_error

MAX_RETRIES = 2
"""A task whose worker died is tried again this many times."""

PATIENCE = 20.0
"""If no step ends for this many seconds, the scheduler checks whether anything can run."""

TICK = 0.5
"""What has been done of steps is looked at this often, in seconds, if it is shown."""

AHEAD = 2
"""This many tasks are in flight for each one that can run, so that no worker waits for the driver."""

WORKER_DIED = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError)


@dataclass(frozen=True)
class Step:
    """A step is a stage of one shard: function(*args) in a worker that has a CPU and, if `gpu`, a GPU.

    rescue: what is called in its place, with the same arguments, after the step has killed its worker every time.
    required_paths: paths that exist on every node that shares the storage.
    """

    stage: str
    shard: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    gpu: bool = False
    rescue: Callable[..., Any] | None = None
    required_paths: tuple[Path, ...] = ()


ShardSteps = deque[Step]
"""These are the steps of a shard, one after another."""


@dataclass
class Outcome:
    """An outcome says how a run over the shards ended.

    unfinished: the shards that were left unfinished, each with its reason. storage_error: how the storage failed, or
    "".
    """

    unfinished: dict[int, str] = field(default_factory=dict)
    storage_error: str = ""


def run_chains(
    chains: list[ShardSteps],
    workers: int | None,
    done: Callable[[Step, Any], None],
    within: Callable[[Counts], None] | None = None,
) -> Outcome:
    """Run every chain of steps; done(step, result) is called in the driver as each step ends, and within(counts), if it
    is given, several times a second with what has been done of steps so far.

    workers: the most CPUs to use over the whole cluster; None means all. A shard whose worker keeps dying, or whose
    step raises, is left unfinished, and the others go on. Once the storage has failed (an OSError that does not speak
    of one damaged file), nothing new is started.
    """
    return _Scheduler(chains, workers, done, within).run()


@lru_cache(maxsize=1)
def _remote() -> Any:
    # With max_calls=0, a process that holds a model on a GPU stays for the next task.
    return ray.remote(num_cpus=1, max_retries=MAX_RETRIES, max_calls=0)(run_step)


def run_step(required_paths: tuple[Path, ...], function: Callable[..., Any], *args: Any) -> Any:
    """Run a step in a worker. Raises StorageNotShared, an OSError, if the node lacks a required path."""
    require(required_paths)
    return function(*args)


class _Scheduler:
    def __init__(
        self,
        chains: list[ShardSteps],
        workers: int | None,
        done: Callable[[Step, Any], None],
        within: Callable[[Counts], None] | None,
    ):
        self._ready: dict[bool, deque[tuple[ShardSteps, Step]]] = {False: deque(), True: deque()}
        self._gpu = any(step.gpu for chain in chains for step in chain)
        for chain in chains:
            self._queue(chain)
        self._done = done
        self._workers = workers
        self._flying: dict[ray.ObjectRef, tuple[ShardSteps, Step]] = {}
        self._outcome = Outcome()
        self._within = within
        self._counts = StepCounts() if within and chains else None

    def run(self) -> Outcome:
        if not any(self._ready.values()):
            return self._outcome
        try:
            self._run(StallReason(self._gpu))
        finally:
            if self._counts:
                self._counts.close()
        return self._outcome

    def _wait(self, stall: StallReason) -> list[ray.ObjectRef]:
        """Wait until a step ends, while showing what has been done of steps; a long wait that has a reason says it."""
        patience = time.monotonic() + PATIENCE
        while True:
            ended, _ = ray.wait(list(self._flying), num_returns=1, timeout=TICK if self._counts else PATIENCE)
            if self._counts and self._within and (counts := self._counts.latest()) is not None:
                self._within(counts)
            if ended:
                return ended
            if time.monotonic() >= patience:
                patience = time.monotonic() + PATIENCE
                if why := stall.why():
                    print(why, file=sys.stderr, flush=True)

    def _run(self, stall: StallReason) -> None:
        self._submit()
        while self._flying:
            ended = self._wait(stall)
            chain, step = self._flying.pop(ended[0])
            try:
                self._done(step, ray.get(ended[0]))
                self._queue(chain, first=True)
            except WORKER_DIED as error:
                self._worker_died(chain, step, error)
            except ray.exceptions.OutOfMemoryError:
                self._outcome.unfinished[step.shard] = (
                    f"{step.stage}: memory ran out on its node every time; "
                    "give nodes with little memory fewer CPUs (ray start --num-cpus)"
                )
            except ray.exceptions.RayTaskError as error:
                seen = tuple(path for path in step.required_paths if os.path.exists(path))
                if isinstance(error.cause, StorageNotShared) and seen != step.required_paths:
                    # The path is gone on this node as well, so the other is not at fault; the step itself will show
                    # what is.
                    self._launch(chain, dataclasses.replace(step, required_paths=seen))
                else:
                    self._failed(step, error.cause)
            self._submit()

    def _queue(self, chain: ShardSteps, first: bool = False) -> None:
        """Queue the next step of a chain; with `first`, before all others, so that begun shards get finished."""
        if chain:
            step = chain.popleft()
            queue = self._ready[step.gpu]
            (queue.appendleft if first else queue.append)((chain, step))

    def _submit(self) -> None:
        if self._outcome.storage_error:
            return
        for gpu, queue in self._ready.items():
            free = self._window(gpu) - sum(step.gpu == gpu for _, step in self._flying.values()) if queue else 0
            while queue and free > 0:
                self._launch(*queue.popleft())
                free -= 1

    def _window(self, gpu: bool) -> int:
        """Return how many steps, on GPUs or not, may be in flight; it is asked each time, since nodes come and go."""
        # The window itself limits the workers, since a cluster that we joined may have more CPUs.
        if self._workers and not gpu:
            return self._workers
        return AHEAD * max(int(ray.cluster_resources().get("GPU" if gpu else "CPU", 0)), 1)

    def _launch(self, chain: ShardSteps, step: Step) -> None:
        task = _remote().options(num_gpus=1 if step.gpu else 0, name=f"{step.stage} {step.shard}")
        function, args = step.function, step.args
        if self._counts:
            function, args = run_counted, (self._counts.holder, step.stage, step.shard, function, *args)
        self._flying[task.remote(step.required_paths, function, *args)] = (chain, step)

    def _worker_died(self, chain: ShardSteps, step: Step, error: Exception) -> None:
        # While the storage fails, that may be what kills workers, so no video is suspected then.
        if step.rescue is not None and not self._outcome.storage_error:
            self._launch(chain, dataclasses.replace(step, function=step.rescue, rescue=None))
        else:
            first_line = str(error).splitlines()[0]
            self._outcome.unfinished[step.shard] = f"{step.stage}: its worker died every time: {first_line}"

    def _failed(self, step: Step, cause: BaseException) -> None:
        if isinstance(cause, OSError) and speaks_of_damage(cause):
            text = f"{describe_os_error(cause)}; `s2vc-prep verify` says what is damaged"
        elif isinstance(cause, OSError):
            text = self._outcome.storage_error = describe_os_error(cause)
        else:
            text = f"{type(cause).__name__}: {cause}".splitlines()[0]
        self._outcome.unfinished[step.shard] = f"{step.stage}: {text}"
