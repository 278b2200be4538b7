"""How work that takes a while reports that it goes on, to whoever shows it; nothing here is shown."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called when work is done: so many units more, so many frames (or what is counted) more, a note on the latest.

    at: the units that are done in all, where some were done before this job.
    """

    def __call__(self, units: int, frames: int, note: str = "", at: int | None = None) -> None: ...


ShowProgress = Callable[[int], AbstractContextManager[Advance]]
"""Given the number of units in all: progress over them is shown while the block runs, as `advance` is called."""


@contextmanager
def no_progress(total: int) -> Iterator[Advance]:
    """Nothing is shown; for calls from Python."""

    def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
        pass

    yield advance
