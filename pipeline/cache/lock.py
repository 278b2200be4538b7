"""One job at a time writes into a cache."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.remote import RemoteLayout
from s2vc.pipeline.storage.lease import leased


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the cache; the lock is gone with the process, however it ends. Raises UserError where it is in use."""
    layout.root.mkdir(parents=True, exist_ok=True)
    handle = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise in_use(layout, handle) from None
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        with leased(layout.store) if isinstance(layout, RemoteLayout) else nullcontext():
            layout.refresh()
            layout.expect_many()
            yield
    finally:
        os.close(handle)


def in_use(layout: Layout, handle: int) -> UserError:
    """That another job holds the cache, and which, by its lock, which is open."""
    holder = os.read(handle, 100).decode(errors="replace").strip()
    return UserError(f"{layout} is in use by another job ({holder or 'unknown'}); wait for it")
