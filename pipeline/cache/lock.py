"""A lock lets one job at a time write into a cache."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.remote_storage import RemoteStorage
from s2vc.pipeline.storage.files import flocked
from s2vc.pipeline.storage.held import held, in_use
from s2vc.pipeline.storage.lease import leased, refuse_jobs


@contextmanager
def locked(storage: CacheStorage) -> Iterator[None]:
    """Hold the cache while the block runs; the lock ends with the process. Raises UserError if the cache is in use."""
    with ExitStack() as stack:
        stack.enter_context(held(storage.layout.root, str(storage)))
        if isinstance(storage, RemoteStorage):
            stack.enter_context(leased(storage.store))
            storage.refresh()
        yield


@contextmanager
def without_writers(storage: CacheStorage) -> Iterator[None]:
    """Run the block only if no job is writing into the cache; nothing is written, so the cache may be read-only.

    A cache on disk is held meanwhile, if its lock can be opened, so that no job begins. Raises UserError if a job is
    writing.
    """
    with ExitStack() as stack:
        if isinstance(storage, RemoteStorage):
            refuse_jobs(storage.store)
        else:
            try:
                stack.enter_context(flocked(storage.layout.lock, fcntl.LOCK_SH | fcntl.LOCK_NB, os.O_RDONLY))
            except BlockingIOError:
                raise in_use(str(storage), storage.layout.lock) from None
            except OSError:
                pass  # no job has ever run here, or we may not open the lock
        yield
