"""This module keeps copies of a store's objects on this machine, up to a limit, shared by all its processes.

The objects that were used least recently are dropped first. An object is a file named by its SHA-256, and has a lock
file: whoever is about to open the object shares the lock (a lease), and whoever fetches or drops it holds the lock
alone. The lock file's time stamp says when the object was last asked for.
"""

import fcntl
import os
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.hdf5 import close_files

LEASES = 3
"""A process keeps the objects that it asked for last, this many, from being dropped, so that it can open them."""


class DamagedObject(ValueError):
    """What came from the store is not what the receipt says."""


@dataclass(frozen=True)
class _Kept:
    """This is an object on disk, or the room reserved for one that is being fetched."""

    used: int
    size: int
    path: Path


class LocalObjects:
    """This keeps objects in a folder, of `limit` bytes in all; only objects that processes have leased exceed it.

    Raises OSError if the folder cannot be written.
    """

    def __init__(self, folder: Path, limit: int):
        self._objects, self._locks, self.limit = folder / "objects", folder / "locks", limit
        for place in (self._objects, self._locks):
            place.mkdir(parents=True, exist_ok=True)
        self._leases: OrderedDict[str, int] = OrderedDict()
        weakref.finalize(self, _release, self._leases, 0).atexit = False

    def get(self, digest: str, size: Callable[[], int], fetch: Callable[[Path], None]) -> Path:
        """Return the file of an object; if it is not here, fetch(path) brings it, with size() bytes.

        Raises DamagedObject if it has another SHA-256, and UserError if it is larger than the limit.
        """
        path = self._objects / digest
        if digest in self._leases:
            self._leases.move_to_end(digest)
            return path
        while True:
            lock = os.open(self._locks / digest, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if path.exists():
                self._lease(digest, lock)
                return path
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not path.exists():
                    self._fetch(digest, size(), fetch)
            finally:
                # An exclusive lock cannot become a shared one in one step, so look again whether the file is still
                # there.
                os.close(lock)

    def adopt(self, path: Path, digest: str) -> None:
        """Keep a file that was just uploaded, so that the next stage on this machine need not fetch it."""
        target, size = self._objects / digest, path.stat().st_size
        with self._exclusive(digest) as held:
            # A file larger than the limit must not push out the others.
            if held and size <= self.limit and not target.exists() and self._make_room(size):
                with suppress(FileExistsError):
                    os.link(path, target)

    def _lease(self, digest: str, lock: int) -> None:
        self._leases[digest] = lock
        _release(self._leases, LEASES)

    def release(self) -> None:
        """Give up all leases, as happens when this object is gone; those of a forked process are its parent's."""
        _release(self._leases, 0)

    def _fetch(self, digest: str, size: int, fetch: Callable[[Path], None]) -> None:
        """Fetch an object, whose lock the caller holds. Raises what `get` raises."""
        if size > self.limit:
            raise UserError(f"a shard's file has {size} bytes: --local-cache-size must be larger than that")
        _release(self._leases, LEASES - 1)
        # Dropped objects that this process still has open would go on taking disk space.
        close_files()
        room, part = self._objects / f"{digest}.room", self._objects / f"{digest}.part"
        try:
            self._make_room(size, room)
            fetch(part)
            if files.sha256(part) != digest:
                raise DamagedObject(f"an object of the store is damaged: its SHA-256 is not {digest}")
            part.replace(self._objects / digest)
        finally:
            part.unlink(missing_ok=True)
            room.unlink(missing_ok=True)

    def _make_room(self, size: int, room: Path | None = None) -> bool:
        """Drop the objects unused for longest until `size` more bytes fit, and return whether they do.

        room: a file that is made to reserve the bytes.
        """
        with files.flocked(self._locks / "room"):
            kept = sorted(self._kept(), key=lambda k: k.used)
            total = sum(k.size for k in kept) + size
            for old in kept:
                if total <= self.limit:
                    break
                if self._drop(old.path):
                    total -= old.size
            if room is not None:
                with room.open("wb") as file:
                    file.truncate(size)  # a sparse file takes no disk space, but its size is counted
        return total <= self.limit

    def _kept(self) -> Iterator[_Kept]:
        for entry in os.scandir(self._objects):
            name = entry.name.partition(".")[0]
            if entry.name.endswith(".part"):
                continue
            with suppress(FileNotFoundError):  # it was dropped meanwhile
                used = os.stat(self._locks / name).st_mtime_ns if (self._locks / name).exists() else 0
                yield _Kept(used, entry.stat().st_size, Path(entry.path))

    def _drop(self, path: Path) -> bool:
        """Remove an object, or what a killed process left of one, if nobody holds it; return whether it is gone."""
        digest = path.name.partition(".")[0]
        with self._exclusive(digest) as held:
            if held:
                path.unlink(missing_ok=True)
                path.with_name(f"{digest}.part").unlink(missing_ok=True)
        return held

    @contextmanager
    def _exclusive(self, digest: str) -> Iterator[bool]:
        """Hold an object's lock if nobody else does, and yield whether it is held. The lock's file and time stay."""
        with ExitStack() as stack:
            try:
                stack.enter_context(files.flocked(self._locks / digest, fcntl.LOCK_EX | fcntl.LOCK_NB))
                held = True
            except BlockingIOError:
                held = False
            yield held


def _release(leases: OrderedDict[str, int], left: int) -> None:
    """Give up leases until `left` are left, that of the object that was asked for longest ago first."""
    while len(leases) > left:
        lock = leases.popitem(last=False)[1]
        os.utime(lock, ns=(time.time_ns(),) * 2)  # the kernel's own clock for time stamps advances only every 4 ms
        os.close(lock)
