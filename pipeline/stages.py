"""Stages over all shards, on Ray: plain tasks in a bounded window. What travels are shard numbers and receipts."""

import dataclasses
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ray
import ray.exceptions

from manifests.errors import UserError
from pipeline.files import told

MAX_RETRIES = 2
"""Times a task whose worker died is tried again."""

AHEAD = 2
"""Tasks in flight for each one that can run, so that no worker waits for the driver."""

WORKER_DIED = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
)


@dataclass(frozen=True)
class Step:
    """A stage of one shard: function(*args) in a worker, with a CPU, and a GPU where `gpu`.

    rescue: what to call in its place, with the same arguments, when the step has killed its worker every time.
    """

    stage: str
    shard: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    gpu: bool = False
    rescue: Callable[..., Any] | None = None


Chain = deque[Step]
"""The steps of a shard, one after another."""


@dataclass
class Outcome:
    """How a run over the shards ended: what was left unfinished, by shard, each with its reason."""

    unfinished: dict[int, str] = field(default_factory=dict)
    storage_error: str = ""


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Ray for the time of the block: a cluster of our own (never one that happens to run), or the one at an address.

    Raises UserError where no cluster answers at the address.
    """
    # Its usage report would go to the network, and its dashboard is a server nobody asked for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    already = ray.is_initialized()
    if not already:
        own: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        try:
            with _own_handlers():
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, ValueError) as error:
            if address is None:
                raise
            raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        if not already:
            ray.shutdown()


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Signal handlers of ours stay what they are: Ray puts one of its own on SIGTERM, which aborts."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, handler)


def gpus() -> int:
    """GPUs of the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def run_chains(chains: list[Chain], workers: int | None, done: Callable[[Step, Any], None]) -> Outcome:
    """Run every chain; done(step, result) is called in the driver as steps end.

    workers: CPUs to use at most; None for all of the cluster. A shard whose worker keeps dying, or whose step raises,
    is left unfinished and the others go on; where storage fails (OSError) nothing new is started.
    """
    return _Scheduler(chains, workers, done).run()


@lru_cache
def _remote(function: Callable[..., Any]) -> Any:
    # max_calls=0: a process that holds a model on a GPU stays for the next task.
    return ray.remote(num_cpus=1, max_retries=MAX_RETRIES, max_calls=0)(function)


class _Scheduler:
    def __init__(self, chains: list[Chain], workers: int | None, done: Callable[[Step, Any], None]):
        self._ready: dict[bool, deque[tuple[Chain, Step]]] = {False: deque(), True: deque()}
        for chain in chains:
            self._queue(chain)
        self._done = done
        cpus = workers or int(ray.cluster_resources().get("CPU", 1))
        # A bound on workers is kept by the window itself, since a cluster we joined has CPUs of its own.
        self._window = {False: workers or AHEAD * max(cpus, 1), True: AHEAD * max(gpus(), 1)}
        self._flying: dict[ray.ObjectRef, tuple[Chain, Step]] = {}
        self._outcome = Outcome()

    def run(self) -> Outcome:
        self._submit()
        while self._flying:
            (ref,), _ = ray.wait(list(self._flying), num_returns=1)
            chain, step = self._flying.pop(ref)
            try:
                self._done(step, ray.get(ref))
                self._queue(chain, first=True)
            except WORKER_DIED as error:
                self._worker_died(chain, step, error)
            except ray.exceptions.RayTaskError as error:
                self._failed(step, error.cause)
            self._submit()
        return self._outcome

    def _queue(self, chain: Chain, first: bool = False) -> None:
        """The next step of a chain is ready; a later stage goes before a first one, so that shards get finished."""
        if chain:
            step = chain.popleft()
            queue = self._ready[step.gpu]
            (queue.appendleft if first else queue.append)((chain, step))

    def _submit(self) -> None:
        if self._outcome.storage_error:
            return
        for gpu, queue in self._ready.items():
            flying = sum(step.gpu == gpu for _, step in self._flying.values())
            while queue and flying < self._window[gpu]:
                self._launch(*queue.popleft())
                flying += 1

    def _launch(self, chain: Chain, step: Step) -> None:
        task = _remote(step.function).options(num_gpus=1 if step.gpu else 0, name=f"{step.stage} {step.shard}")
        self._flying[task.remote(*step.args)] = (chain, step)

    def _worker_died(self, chain: Chain, step: Step, error: Exception) -> None:
        # While storage fails, a worker may die of that: no video is looked for then.
        if step.rescue is not None and not self._outcome.storage_error:
            self._launch(chain, dataclasses.replace(step, function=step.rescue, rescue=None))
        else:
            first_line = str(error).splitlines()[0]
            self._outcome.unfinished[step.shard] = f"{step.stage}: its worker died every time: {first_line}"

    def _failed(self, step: Step, cause: BaseException) -> None:
        if isinstance(cause, OSError):
            text = self._outcome.storage_error = told(cause)
        else:
            text = f"{type(cause).__name__}: {cause}".splitlines()[0]
        self._outcome.unfinished[step.shard] = f"{step.stage}: {text}"
