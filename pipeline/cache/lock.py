"""One job at a time writes into a cache."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.remote import RemoteLayout
from s2vc.pipeline.storage.files import flocked
from s2vc.pipeline.storage.lease import leased, refuse_jobs


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the cache; the lock is gone with the process, however it ends. Raises UserError where it is in use."""
    layout.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(flocked(layout.lock, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            raise _in_use(layout) from None
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        stack.enter_context(leased(layout.store) if isinstance(layout, RemoteLayout) else nullcontext())
        layout.refresh()
        layout.expect_many()
        yield


@contextmanager
def without_writers(layout: Layout) -> Iterator[None]:
    """No job writes into the cache while the block runs; nothing is written for that, so that it may be read-only.

    Raises UserError where a job is writing.
    """
    with ExitStack() as stack:
        if isinstance(layout, RemoteLayout):
            refuse_jobs(layout.store)
        else:
            try:
                stack.enter_context(flocked(layout.lock, fcntl.LOCK_SH | fcntl.LOCK_NB, os.O_RDONLY))
            except BlockingIOError:
                raise _in_use(layout) from None
            except OSError:
                pass  # no job has ever run here, or we may not know
        yield


def _in_use(layout: Layout) -> UserError:
    """That another job holds the cache, and which, by what it wrote into the lock's file."""
    with layout.lock.open("rb") as file:
        holder = file.read(100).decode(errors="replace").strip()
    return UserError(f"{layout} is in use by another job ({holder or 'unknown'}); wait for it")
