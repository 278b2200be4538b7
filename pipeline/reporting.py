"""Work that takes a while reports its progress through these types; whoever calls it decides how to display it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
