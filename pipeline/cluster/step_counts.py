"""What workers have done of the steps that they are in, told to the driver while they are in them.

An actor that takes no CPU holds the counts, since tasks give Ray nothing before they end. Counts are for people to look
at: where the actor is lost, a job goes on without them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
import ray.exceptions

from s2vc.pipeline.reporting import followed

Counts = Mapping[tuple[str, int], tuple[int, int]]
"""By stage and shard: the videos and frames of the step that are done."""

SECONDS = 0.25
"""A worker tells its counts this often at most."""


class CountHolder:
    """Holds the latest counts of each step; it runs as an actor."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], tuple[int, int]] = {}

    def put(self, stage: str, shard: int, videos: int, frames: int) -> None:
        self._counts[stage, shard] = videos, frames

    def all(self) -> Counts:
        return self._counts


class StepCounts:
    """Starts the actor, and asks it for the counts without ever waiting for an answer."""

    def __init__(self) -> None:
        self.holder: Any = ray.remote(num_cpus=0)(CountHolder).remote()
        self._asked: Any = None

    def latest(self) -> Counts | None:
        """Return the counts, or None if there are no new ones."""
        try:
            self._asked = self._asked or self.holder.all.remote()
            if not ray.wait([self._asked], timeout=0)[0]:
                return None
            counts, self._asked = ray.get(self._asked), None
        except ray.exceptions.RayError:
            return None
        return counts

    def close(self) -> None:
        ray.kill(self.holder)


def run_counted(holder: Any, stage: str, shard: int, function: Callable[..., Any], *args: Any) -> Any:
    """Call a step's function in a worker, and tell the holder what it reports (pipeline.reporting)."""
    told = 0.0

    def tell(videos: int, frames: int) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS:
            told = time.monotonic()
            holder.put.remote(stage, shard, videos, frames)

    holder.put.remote(stage, shard, 0, 0)  # A step that killed its worker begins again.
    with followed(tell):
        return function(*args)
