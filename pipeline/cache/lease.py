"""One job at a time writes into a cache in an object store, which has no locks: jobs leave a note there, and renew it.

Who is there is judged by the store's own clock: a note that was renewed within LEASE_SECONDS of ours is of a job that
lives. Two jobs that begin at the same moment may both be refused, never both be let in. Should one go on regardless,
as a machine that was asleep does, nothing is lost: both write the same bytes under the same keys.
"""

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from manifests.errors import UserError
from pipeline.cache.store import Store, StoreError

LEASE_SECONDS = 120.0
RENEW_SECONDS = 30.0
FOLDER = "jobs"


@contextmanager
def leased(store: Store) -> Iterator[None]:
    """Hold a cache for the time of the block. Raises UserError where another job does."""
    host = os.uname().nodename
    own = f"{FOLDER}/{host}-{os.getpid()}-{secrets.token_hex(4)}"
    stop = threading.Event()
    store.write(own, b"")
    try:
        _refuse_others(store, own, host)
        renewing = threading.Thread(target=_renew, args=(store, own, stop), daemon=True)
        renewing.start()
        yield
        stop.set()
        renewing.join()
    finally:
        stop.set()
        with suppress(StoreError):
            store.remove([own])


def _refuse_others(store: Store, own: str, host: str) -> None:
    notes = store.listing(FOLDER)
    now = notes[own.removeprefix(f"{FOLDER}/")].modified
    for name, note in notes.items():
        other_host, pid, _ = name.rsplit("-", 2)
        age = now - note.modified
        if f"{FOLDER}/{name}" == own:
            continue
        if age > LEASE_SECONDS or (other_host == host and not os.path.exists(f"/proc/{pid}")):
            store.remove([f"{FOLDER}/{name}"])
            continue
        raise UserError(
            f"{store.url} is in use by another job (process {pid} on {other_host}, seen {max(age, 0):.0f} s ago); wait "
            f"for it, or, if it was killed, for {LEASE_SECONDS:.0f} s"
        )


def _renew(store: Store, own: str, stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        with suppress(StoreError):  # the job finds out by itself, or the store is back in time
            store.write(own, b"")
