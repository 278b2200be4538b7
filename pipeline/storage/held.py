"""Hold a folder, so that one job at a time writes into it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.files import describe_os_error, flocked, remove_half_written

LOCK = ".lock"


@contextmanager
def held(folder: Path, name: str = "") -> Iterator[None]:
    """Hold a folder while the block runs; the folder is made if needed, and the lock ends with the process.

    What killed jobs left half written in it, but for its subfolders, is removed.

    name: what people call the folder; by default its path. The lock's file, FOLDER/.lock, says who holds it. Raises
    UserError, which says so too, if another job does, and for a folder that cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {describe_os_error(error)}") from None
    lock = folder / LOCK
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(flocked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            raise in_use(name or str(folder), lock) from None
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        with suppress(OSError):  # What cannot be removed does no harm.
            remove_half_written(folder)
        yield


def in_use(name: str, lock: Path) -> UserError:
    """Return the error that another job holds what is called `name`; the lock's file says which, if it writes."""
    with suppress(BlockingIOError), flocked(lock, fcntl.LOCK_SH | fcntl.LOCK_NB, os.O_RDONLY):
        return UserError(f"{name} is being read by `s2vc-prep verify`; wait for it")
    with lock.open("rb") as file:
        holder = file.read(100).decode(errors="replace").strip()
    return UserError(f"{name} is in use by another job ({holder or 'unknown'}); wait for it")
