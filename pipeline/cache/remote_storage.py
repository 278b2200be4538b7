"""A RemoteStorage holds a cache in an object store.

Nothing is renamed there: the files of a shard lie under the prefix of an attempt, and the receipt, written last, names
the prefix.

    URL/cache.json, index.csv, flow.safetensors, motion/VARIANT/variant.json, receipts/STAGE/00000.json
    URL/attempts/STAGE/00000/DIGEST/frames/00000.h5 …     as in a cache on disk, below `prefix` of the receipt

DIGEST is computed from the files' hashes, so that the same work has the same keys, and two workers of one shard do not
harm each other.
"""

import dataclasses
import hashlib
import json
import os
import re
import secrets
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from s2vc.pipeline.cache.cache_storage import CacheStorage, part_of
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout, motion_stage
from s2vc.pipeline.cache.receipts import Receipt, attempts_of
from s2vc.pipeline.cache.renderings import remove_stale_latents, remove_stale_renderings
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.local_objects import LocalObjects
from s2vc.pipeline.storage.object_store import RemoteGroup, Store
from s2vc.pipeline.variants import Variant

_IN_ATTEMPT = re.compile(r"attempts/.+?/\d{5,}/[0-9a-f]{16}/")

PEEK_BYTES = 1 << 16
"""A file of which little is needed is read this many bytes at a time."""


class RemoteStorage(CacheStorage):
    """This is a cache at a URL, with copies on this machine.

    local, limit: the folder for copies, and the bytes that those of shards' files may take. The path of a shard's file
    is that of a copy, which stays until this storage was asked for several others, or is gone. Another process, to
    which it is sent or which is forked, fetches anew. Methods raise StoreError if the store cannot be reached.
    """

    def __init__(self, url: str, local: Path, limit: int):
        self.store, self.local, self.limit = Store(url), local, limit
        name = f"{self.store.url.rsplit('/', 1)[-1]}-{hashlib.sha256(self.store.url.encode()).hexdigest()[:16]}"
        super().__init__(local / "caches" / name)
        self._fetched: set[str] = set()  # keys, and folders of receipts, whose copies are as the store has them
        self._places: dict[str, tuple[str, str]] = {}  # keys and SHA-256 of shards' files, by name
        _storages.add(self)

    def __str__(self) -> str:
        return self.store.url

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStorage, (self.store.url, self.local, self.limit)

    def local_settings(self) -> dict[str, str]:
        return {"local_cache": str(self.local), "local_cache_size": str(self.limit)}

    @cached_property
    def objects(self) -> LocalObjects:
        return LocalObjects(self.local, self.limit)

    def fetch(self, path: Path) -> Path:
        key, made_by = self.layout.key(path), self.layout.made_by(path)
        if made_by:
            return self._fetch_of_shard(*made_by, path, key)
        if key not in self._fetched and self.layout.key(path.parent) not in self._fetched:
            if path == self.layout.flow:
                self._copy_if_changed(path, key)
            else:
                _put(path, self.store.read(key))
            self._fetched.add(key)
        return path

    def fetch_receipts(self, *stages: str) -> None:
        for stage in stages:
            self._copy_receipts(f"receipts/{stage}")
        self._places.clear()  # other attempts at their shards may have taken the place of those that are known

    def fetch_object(self, key: str, digest: str) -> Path:
        """Return a copy of the object with this key and SHA-256. Raises FileNotFoundError if it is missing."""

        def size() -> int:
            entry = self.store.entry(key)
            if entry is None:
                raise FileNotFoundError(f"{self}/{key} is missing: run `s2vc-prep verify`")
            return entry.size

        return self.objects.get(digest, size, lambda path: self.store.download(key, path))

    def latent_group(self, shard: int) -> Path | RemoteGroup:
        path, receipt = self.layout.latents(shard), self.fetch_receipt(ENCODE, shard)
        return RemoteGroup(self.store, f"{receipt.prefix}/{self.layout.key(path)}") if receipt else path

    def open_motion(self, variant: Variant, shard: int) -> IO[bytes]:
        receipt = self.fetch_receipt(motion_stage(variant), shard)
        if receipt is None:
            raise FileNotFoundError(f"{variant.name} of shard {shard} is not rendered")
        return self.store.open(f"{receipt.prefix}/{self.layout.key(self.layout.motion(variant, shard))}", PEEK_BYTES)

    def publish(self, path: Path) -> None:
        key = self.layout.key(path)
        self.store.upload([path], [key])
        self._fetched.add(key)

    def names(self, folder: str = "") -> list[str]:
        return self.store.names(folder)

    def variant_names(self) -> list[str]:
        return self.store.names("motion")

    def sizes(self, below: str = "") -> dict[str, int]:
        found: Counter[str] = Counter()
        for key, entry in self.store.listing("").items():
            attempt = _IN_ATTEMPT.match(key)
            found[part_of(key[attempt.end() :] if attempt else key)] += entry.size
        return dict(found)

    def remove(self, path: Path) -> None:
        self.store.remove_all(self.layout.key(path))
        files.remove(path)

    def remove_variant(self, variant: Variant) -> None:
        super().remove_variant(variant)
        self.store.remove_all(f"attempts/{motion_stage(variant)}")
        self.refresh()

    def deliver(self, here: Layout, receipt: Receipt) -> None:
        """Upload what was made in a folder of this machine, then its receipt, which makes it part of the cache.

        Other attempts at the shard are removed, and so is what was made from frames or latents that these replace.
        """
        names, stage, shard = list(receipt.files), receipt.stage, receipt.shard
        attempt = hashlib.sha256(json.dumps(receipt.files).encode()).hexdigest()[:16]
        receipt = dataclasses.replace(receipt, prefix=f"{attempts_of(stage, shard)}/{attempt}")
        self.store.upload([here.root / name for name in names], [f"{receipt.prefix}/{name}" for name in names])
        for name in names:
            self.objects.adopt(here.root / name, receipt.files[name])
        if stage == INGEST:
            remove_stale_latents(self, shard, receipt)
        if stage == ENCODE:
            remove_stale_renderings(self, shard, receipt)
        self.store.write(here.key(here.receipt(stage, shard)), receipt.text().encode())
        self.refresh()
        for other in self.store.names(attempts_of(stage, shard)):
            if other != attempt:
                self.store.remove_all(f"{attempts_of(stage, shard)}/{other}")

    def refresh(self) -> None:
        """Forget what was fetched, since others may have written into the cache."""
        self._fetched.clear()
        self._places.clear()

    def start_in_fork(self) -> None:
        """Give up what belongs to the process that this one was forked from: its leases and its connections."""
        if (objects := vars(self).pop("objects", None)) is not None:
            objects.release()
        self.store = Store(self.store.url)
        self.refresh()

    def _fetch_of_shard(self, stage: str, shard: int, path: Path, name: str) -> Path:
        if name not in self._places:
            receipt = self.fetch_receipt(stage, shard)
            if receipt is None or name not in receipt.files:
                return path
            self._places[name] = f"{receipt.prefix}/{name}", receipt.files[name]
        return self.fetch_object(*self._places[name])

    def _copy_if_changed(self, path: Path, key: str) -> None:
        """Copy a larger file, but only if it differs from the last copy."""
        entry, note = self.store.entry(key), path.with_name(f"{path.name}.version")
        if entry is None:
            _put(path, None)
        elif not (path.exists() and note.exists() and note.read_text() == entry.version):
            _put(path, self.store.read(key))
            _put(note, entry.version.encode())

    def _copy_receipts(self, folder: str) -> None:
        """Copy all receipts in a folder; those that are here already are not read again."""
        here, note = self.layout.root / folder, self.layout.root / f"{folder}.versions.json"
        there = {k: e.version for k, e in self.store.listing(folder).items() if "/" not in k}
        known = _known(note)
        changed = [k for k, version in there.items() if known.get(k) != version or not (here / k).exists()]
        for key, content in self.store.read_all([f"{folder}/{k}" for k in changed]).items():
            _put(self.layout.root / key, content)
        for path in here.glob("*.json"):
            if path.name not in there:
                path.unlink(missing_ok=True)
        _put(note, json.dumps(there).encode())
        self._fetched.add(folder)


_storages: "WeakSet[RemoteStorage]" = WeakSet()


def _forked() -> None:
    for storage in list(_storages):
        storage.start_in_fork()


os.register_at_fork(after_in_child=_forked)


def _known(note: Path) -> dict[str, str]:
    try:
        return {str(k): str(v) for k, v in files.read_json(note).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _put(path: Path, content: bytes | None) -> None:
    """Write a copy, complete or not at all, or remove it if there is no content.

    It is not synced, since it can be fetched again.
    """
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    aside.write_bytes(content)
    aside.replace(path)
