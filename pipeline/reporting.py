"""Work that takes a while reports its progress through these types; whoever calls it decides how to display it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol


class Advance(Protocol):
    """A function of this type is called when work is done.

    units, frames: how many units and frames (or whatever is counted) were done since the last call. note: a remark on
    the latest unit. at: the number of units done in all, where some were done before this job.
    """

    def __call__(self, units: int, frames: int, note: str = "", at: int | None = None) -> None: ...


ShowProgress = Callable[[int], AbstractContextManager[Advance]]
"""A function of this type takes the total number of units, and displays progress while its block runs, as `advance` is
called."""


@contextmanager
def no_progress(total: int) -> Iterator[Advance]:
    """Display nothing; this is meant for calls from Python."""

    def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
        pass

    yield advance


Follower = Callable[[int, int], None]
"""A function of this type takes how many videos and frames of a shard are done in all."""

_FOLLOWER: ContextVar[Follower | None] = ContextVar("follower", default=None)


@contextmanager
def followed(follower: Follower) -> Iterator[None]:
    """Call the follower with whatever `report_within` reports while the block runs, in this thread."""
    token = _FOLLOWER.set(follower)
    try:
        yield
    finally:
        _FOLLOWER.reset(token)


def report_within(videos: int, frames: int) -> None:
    """Report how many videos and frames of the shard that is worked on are done, if anybody follows it."""
    if follower := _FOLLOWER.get():
        follower(videos, frames)
