"""Read all shards of a large cache in several processes; a small one is read in this process."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from s2vc.manifests.errors import Stopped
from s2vc.pipeline.stages.ffmpeg_process import die_with_parent

T = TypeVar("T")
R = TypeVar("R")

SHARDS_A_PROCESS = 1000
"""A process is started for no fewer shards: a process takes seconds to start, and a shard milliseconds."""

SHARDS_AT_ONCE = 8
"""A process is sent so many shards, and sends back what it found, at a time."""


def over_shards(read: Callable[[T], R], shards: Sequence[T], workers: int | None = None) -> Iterator[R]:
    """Yield read(shard) of each shard, in order, as soon as it is there.

    shards: what `read` needs of each; it is sent to another process, and so is the answer. workers: processes at most;
    None stands for one for each CPU. Raises what `read` raises, and Stopped if a process was killed.
    """
    count = min(workers or len(os.sched_getaffinity(0)), len(shards) // SHARDS_A_PROCESS)
    if count < 2:
        yield from map(read, shards)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads of this process hold
    with ProcessPoolExecutor(count, context, _begin_worker) as pool:
        try:
            yield from pool.map(read, shards, chunksize=SHARDS_AT_ONCE)
        except BrokenProcessPool:
            raise Stopped("a process that reads shards was killed, perhaps for want of memory") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C and ends its workers
    die_with_parent()
