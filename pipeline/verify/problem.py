"""Define what a check reports, and turn whatever error a damaged or hostile file causes into one line about it."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from s2vc.manifests.errors import printable
from s2vc.pipeline.storage.files import Malformed

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Problem:
    """Describes to a person one thing that is not as the format says.

    where: the file, relative to the cache (or the shard, or the video). what: what is wrong with it. unfinished: it is
    no damage, but work that a stopped job has left. stage, shard: what to do again to put it right; "" and -1 where
    that is not known.
    """

    where: str
    what: str
    unfinished: bool = False
    stage: str = ""
    shard: int = -1

    def __str__(self) -> str:
        """Return one line without control characters."""
        return printable(f"{self.where}: {self.what}")


Checks = Generator[Problem, None, T]
"""A check is a generator: it yields problems as it finds them, and returns what later checks need."""


def guarded(where: str, check: Callable[P, Iterable[Problem]], *args: P.args, **kwargs: P.kwargs) -> Checks[None]:
    """Yield the problems that `check` finds in one file; an error while reading the file becomes the last of them."""
    try:
        yield from check(*args, **kwargs)
    except Malformed as error:
        yield Problem(where, str(error))
    # Every exception is caught, since a hostile file can make h5py, Zarr and NumPy raise errors of any kind.
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        yield Problem(where, f"cannot be read ({type(error).__name__}: {first_line})")
