"""A lease lets one job at a time write into a cache in an object store.

Stores have no locks, so a job writes a note and renews it. A note's age is judged by the store's own clock: one renewed
within LEASE_SECONDS of ours belongs to a job that is alive. Of two jobs that begin at the same moment both may be
refused, but never both admitted. If a job goes on without its lease, as after its machine was asleep, nothing is lost:
both jobs write the same bytes under the same keys.
"""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.object_store import Store, StoreError

LEASE_SECONDS = 120.0
RENEW_SECONDS = 30.0
FOLDER = "jobs"


@contextmanager
def leased(store: Store) -> Iterator[None]:
    """Hold the lease of a cache while the block runs. Raises UserError if another job holds it."""
    own = f"{FOLDER}/{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
    store.write(own, b"")
    try:
        _refuse_others(store, own)
        with _renewed(store, own):
            yield
    finally:
        with suppress(StoreError):
            store.remove(own)


def refuse_jobs(store: Store) -> None:
    """Raise UserError if a job holds the cache; ages are judged by this machine's clock.

    Nothing is written, so that somebody with no more than read permission may check.
    """
    for name, note in store.listing(FOLDER).items():
        if not _is_left(name, time.time() - note.modified):
            raise _in_use(store, name, time.time() - note.modified)


def _refuse_others(store: Store, own: str) -> None:
    notes = store.listing(FOLDER)
    now = notes[own.removeprefix(f"{FOLDER}/")].modified
    for name, note in notes.items():
        if f"{FOLDER}/{name}" == own:
            continue
        if not _is_left(name, now - note.modified):
            raise _in_use(store, name, now - note.modified)
        store.remove(f"{FOLDER}/{name}")


def _is_left(name: str, age: float) -> bool:
    """Return whether a note's job is gone: the note was not renewed, or its process, on this machine, has ended."""
    host, pid, _ = name.rsplit("-", 2)
    return age > LEASE_SECONDS or (host == os.uname().nodename and not os.path.exists(f"/proc/{pid}"))


def _in_use(store: Store, name: str, age: float) -> UserError:
    host, pid, _ = name.rsplit("-", 2)
    return UserError(
        f"{store.url} is in use by another job (process {pid} on {host}, seen {max(age, 0):.0f} s ago); wait for it, "
        f"or, if it was killed, for {LEASE_SECONDS:.0f} s"
    )


@contextmanager
def _renewed(store: Store, own: str) -> Iterator[None]:
    """Write a note again and again while the block runs, and not after it."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(RENEW_SECONDS):
            with suppress(StoreError):  # either the job meets the error itself, or the store is back in time
                store.write(own, b"")

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
