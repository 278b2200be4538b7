"""On a cache in an object store, shard functions work on copies in a local folder, and what they made is uploaded."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout
from s2vc.pipeline.cache.remote_storage import RemoteStorage
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.storage.files import flocked

LOCK = ".in-use"


def on_copies(
    function: Callable[..., Any],
    needs: Sequence[str],
    storage: CacheStorage,
    settings: Settings,
    shard: int,
    *rest: Any,
) -> Any:
    """Call a shard function, which works on a cache on disk, for a cache that may be in an object store.

    function: takes layout, settings, shard and the rest, and returns a receipt or a list of them. needs: the folders
    whose files of the shard it reads.
    """
    if not isinstance(storage, RemoteStorage):
        return function(storage.layout, settings, shard, *rest)
    with copies(storage, shard, needs) as here:
        made = function(here, settings, shard, *rest)
        for receipt in made if isinstance(made, list) else [made]:
            storage.deliver(here, receipt)
    return made


@contextmanager
def copies(storage: RemoteStorage, shard: int, needs: Sequence[str]) -> Iterator[Layout]:
    """Yield a cache on disk, while the block runs, with the flow, a shard's receipts, and its files in some folders."""
    storage.refresh()
    with scratch(storage.local / "scratch") as folder:
        here = Layout(folder)
        # The flow is linked, so that its resolved path, by which a worker knows a flow that it has loaded, stays the
        # same.
        flow = storage.fetch(storage.layout.flow)
        if flow.exists():
            here.flow.symlink_to(flow)
        for stage in (INGEST, ENCODE):
            receipt = storage.fetch_receipt(stage, shard)
            if receipt is None:
                continue
            receipt.write(here)
            for name in receipt.files:
                if name.startswith(tuple(f"{need}/" for need in needs)):
                    target = here.root / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # A hard link stays even if the copy is dropped.
                    os.link(storage.fetch_object(f"{receipt.prefix}/{name}", receipt.files[name]), target)
        yield here


@contextmanager
def scratch(base: Path) -> Iterator[Path]:
    """Yield a folder that is removed at the end; folders that killed processes left are removed first."""
    base.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with flocked(base / LOCK):
            for other in base.iterdir():
                _remove_if_left(other)
            folder = Path(tempfile.mkdtemp(dir=base))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(flocked(folder / LOCK))
        yield folder


def _remove_if_left(folder: Path) -> None:
    with suppress(BlockingIOError, NotADirectoryError), flocked(folder / LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(folder, ignore_errors=True)
