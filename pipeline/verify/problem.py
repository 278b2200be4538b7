"""What a check finds, and how whatever a hostile file does to a library becomes one line about that file."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from s2vc.manifests.errors import printable
from s2vc.pipeline.storage.files import Malformed

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Problem:
    """One thing that is not as the format says, for a person.

    where: the file, relative to the cache (or the shard, or the video). unfinished: work that is left, as a stopped job
    leaves it, no damage. stage, shard: what to do again to put it right, where that is known.
    """

    where: str
    what: str
    unfinished: bool = False
    stage: str = ""
    shard: int = -1

    def __str__(self) -> str:
        """One line without control characters."""
        return printable(f"{self.where}: {self.what}")


Checks = Generator[Problem, None, T]
"""Yields problems as they are found and returns what later checks go on with."""


def guarded(where: str, check: Callable[P, Iterable[Problem]], *args: P.args, **kwargs: P.kwargs) -> Checks[None]:
    """The problems that check(*args) finds in one file; an error while it is read becomes the last of them."""
    try:
        yield from check(*args, **kwargs)
    except Malformed as error:
        yield Problem(where, str(error))
    # Anything: a file made to do harm finds its way through h5py, Zarr and NumPy to errors of every kind.
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        yield Problem(where, f"cannot be read ({type(error).__name__}: {first_line})")
