"""The scheduler runs stages over all shards on Ray, as plain tasks in a bounded window.

Tasks are given little more than a shard's number, and return receipts; frames and latents do not pass through Ray.
"""

import dataclasses
import logging
import os
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import torch

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cluster.nodes import StallReason, StorageNotShared, refuse_unusable_gpus, require
from s2vc.pipeline.storage.files import describe_os_error

MAX_RETRIES = 2
"""A task whose worker died is tried again this many times."""

MEMORY_RETRIES = 5
"""A task that Ray killed because memory ran out is tried again this many times, after 1, 2, 4, … s; by default Ray
never gives up."""

PATIENCE = 20.0
"""If no step ends for this many seconds, the scheduler checks whether anything can run."""

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


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Run Ray while the block does: a cluster of our own (never one that happens to run), or the one at the address.

    Raises UserError if no cluster answers at the address, or if it wants a token.
    """
    # Ray's usage report would go to the network, and its dashboard is a server that nobody asked for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(MEMORY_RETRIES))
    # By default Ray gives its workers a niceness of 15, so that a job would hardly progress on a machine that also
    # trains.
    os.environ.setdefault("RAY_worker_niceness", "0")
    already = ray.is_initialized()
    if not already:
        own: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        if not address and (folder := folder_for_sockets()):
            own["_temp_dir"] = folder
        if not address and not torch.cuda.is_available():
            own["num_gpus"] = 0  # Ray would count GPUs that a CPU build of PyTorch cannot use
        try:
            with _own_handlers():
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, ValueError, ray.exceptions.AuthenticationError) as error:
            if address is None:
                raise
            if _wants_token(error):
                raise UserError(
                    f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token, and have the head's token "
                    "in ~/.ray/auth_token or RAY_AUTH_TOKEN"
                ) from error
            raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        if not already:
            ray.shutdown()


LONGEST_FOR_SOCKETS = 40
"""A Unix socket's path has at most 107 bytes, and Ray adds 65 to the folder that it is given."""


def folder_for_sockets(short: str = "/tmp") -> str | None:
    """Return a folder for Ray's files where its own choice cannot be used: where it is too long for its sockets, as
    Slurm's TMPDIR often is, or no folder that can be written.

    None where Ray's own choice will do. short: where the folder is made. Raises UserError if nothing can be written
    there, or if RAY_TMPDIR, which the user has set, is too long itself.
    """
    given = os.environ.get("RAY_TMPDIR")
    chosen = given or os.environ.get("TMPDIR") or tempfile.gettempdir()
    fits = len(os.fsencode(chosen)) + len("/ray") <= LONGEST_FOR_SOCKETS
    if fits and (given or (os.path.isabs(chosen) and _can_write_in(chosen))):
        return None
    if not given and _can_write_in(short):
        return os.path.join(short, f"s2vc-ray-{os.getuid()}")
    fault = "cannot be written" if fits else "is too long for the sockets of Ray"
    most = LONGEST_FOR_SOCKETS - len("/ray")
    raise UserError(
        f"{chosen} {fault}: set RAY_TMPDIR to a folder on this machine's own disk with a path of {most} bytes at most"
    )


def _can_write_in(folder: str) -> bool:
    try:
        with tempfile.TemporaryDirectory(dir=folder):  # Root may write everywhere, but not in /proc.
            return True
    except OSError:
        return False


def _wants_token(error: BaseException | None) -> bool:
    # Ray wraps the cluster's answer in errors that mention only the connection.
    while error is not None:
        if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep our signal handlers: Ray puts one of its own on SIGTERM, which aborts."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, handler)


def gpus() -> int:
    """Return the number of GPUs in the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def flow_device() -> str:
    """Return the device for the flow: "cuda" if the cluster has GPUs, else "cpu".

    Raises UserError if a node was started with a GPU that PyTorch does not find.
    """
    if not gpus():
        return "cpu"
    refuse_unusable_gpus()
    return "cuda"


def run_chains(chains: list[ShardSteps], workers: int | None, done: Callable[[Step, Any], None]) -> Outcome:
    """Run every chain of steps; done(step, result) is called in the driver as each step ends.

    workers: the most CPUs to use over the whole cluster; None means all. A shard whose worker keeps dying, or whose
    step raises, is left unfinished, and the others go on. Once the storage has failed (OSError), nothing new is
    started.
    """
    return _Scheduler(chains, workers, done).run()


@lru_cache(maxsize=1)
def _remote() -> Any:
    # With max_calls=0, a process that holds a model on a GPU stays for the next task.
    return ray.remote(num_cpus=1, max_retries=MAX_RETRIES, max_calls=0)(run_step)


def run_step(required_paths: tuple[Path, ...], function: Callable[..., Any], *args: Any) -> Any:
    """Run a step in a worker. Raises StorageNotShared, an OSError, if the node lacks a required path."""
    require(required_paths)
    return function(*args)


class _Scheduler:
    def __init__(self, chains: list[ShardSteps], workers: int | None, done: Callable[[Step, Any], None]):
        self._ready: dict[bool, deque[tuple[ShardSteps, Step]]] = {False: deque(), True: deque()}
        self._gpu = any(step.gpu for chain in chains for step in chain)
        for chain in chains:
            self._queue(chain)
        self._done = done
        self._workers = workers
        self._flying: dict[ray.ObjectRef, tuple[ShardSteps, Step]] = {}
        self._outcome = Outcome()

    def run(self) -> Outcome:
        if not any(self._ready.values()):
            return self._outcome
        stall = StallReason(self._gpu)
        self._submit()
        while self._flying:
            ended, _ = ray.wait(list(self._flying), num_returns=1, timeout=PATIENCE)
            if not ended:
                if why := stall.why():
                    print(why, file=sys.stderr, flush=True)
                continue
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
        return self._outcome

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
        self._flying[task.remote(step.required_paths, step.function, *step.args)] = (chain, step)

    def _worker_died(self, chain: ShardSteps, step: Step, error: Exception) -> None:
        # While the storage fails, that may be what kills workers, so no video is suspected then.
        if step.rescue is not None and not self._outcome.storage_error:
            self._launch(chain, dataclasses.replace(step, function=step.rescue, rescue=None))
        else:
            first_line = str(error).splitlines()[0]
            self._outcome.unfinished[step.shard] = f"{step.stage}: its worker died every time: {first_line}"

    def _failed(self, step: Step, cause: BaseException) -> None:
        if isinstance(cause, OSError):
            text = self._outcome.storage_error = describe_os_error(cause)
        else:
            text = f"{type(cause).__name__}: {cause}".splitlines()[0]
        self._outcome.unfinished[step.shard] = f"{step.stage}: {text}"
