"""Read all shards of a large cache in several processes; a small one is read in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from s2vc.pipeline.jobs.process_pool import process_pool
from s2vc.pipeline.processors import available_cpus

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
    count = min(workers or available_cpus(), len(shards) // SHARDS_A_PROCESS)
    if count < 2:
        yield from map(read, shards)
        return
    with process_pool(count, "a process that reads shards was killed, perhaps for want of memory") as pool:
        yield from pool.map(read, shards, chunksize=SHARDS_AT_ONCE)
