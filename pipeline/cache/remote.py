"""A RemoteLayout is a cache in an object store.

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
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout, motion_stage, part_of
from s2vc.pipeline.cache.receipts import Receipt, attempts_of, read_receipt, remove_stale_renderings
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.local_objects import LocalObjects
from s2vc.pipeline.storage.object_store import RemoteGroup, Store
from s2vc.pipeline.variants import Variant

_IN_ATTEMPT = re.compile(r"attempts/.+?/\d{5,}/[0-9a-f]{16}/")

PEEK_BYTES = 1 << 16
"""A file of which little is needed is read this many bytes at a time."""


@dataclass(frozen=True)
class RemoteLayout(Layout):
    """This is a cache at a URL, with copies on this machine.

    root: the folder for copies of its small files (settings, index, flow, receipts), fetched when they are asked for.
    local, limit: the folder for the shards that are used here, and the bytes it may take. Paths of a shard's files are
    those of copies, which stay until this process has asked for several others. Raises StoreError if the store cannot
    be reached.
    """

    url: str
    local: Path
    limit: int

    def __str__(self) -> str:
        return self.url

    @property
    def location(self) -> str:
        return self.url

    def shared_paths(self) -> tuple[Path, ...]:
        return ()

    def local_settings(self) -> dict[str, str]:
        return {"local_cache": str(self.local), "local_cache_size": str(self.limit)}

    @property
    def settings(self) -> Path:
        return self._copy(super().settings)

    @property
    def index(self) -> Path:
        return self._copy(super().index)

    @property
    def flow(self) -> Path:
        path, key = super().flow, self.key(super().flow)
        if key not in self._session.seen:
            self._copy_if_changed(path, key)
            self._session.seen.add(key)
        return path

    @property
    def log(self) -> Path:
        return self._copy(super().log)

    def variant_settings(self, variant: Variant) -> Path:
        return self._copy(super().variant_settings(variant))

    def receipt(self, stage: str, shard: int) -> Path:
        path = super().receipt(stage, shard)
        if self._session.many:
            self._copy_receipts(stage)
            return path
        return self._copy(path)

    def frames(self, shard: int) -> Path:
        return self._object(INGEST, shard, super().frames(shard))

    def small(self, shard: int) -> Path:
        return self._object(INGEST, shard, super().small(shard))

    def motion(self, variant: Variant, shard: int) -> Path:
        return self._object(motion_stage(variant), shard, super().motion(variant, shard))

    def latent_group(self, shard: int) -> Path | RemoteGroup:
        path = self.latents(shard)
        receipt = read_receipt(self, ENCODE, shard)
        return RemoteGroup(self.store, f"{receipt.prefix}/{self.key(path)}") if receipt else path

    def open_motion(self, variant: Variant, shard: int) -> IO[bytes]:
        receipt = read_receipt(self, motion_stage(variant), shard)
        if receipt is None:
            raise FileNotFoundError(f"{variant.name} of shard {shard} is not rendered")
        return self.store.open(f"{receipt.prefix}/{self.key(super().motion(variant, shard))}", PEEK_BYTES)

    def names(self, folder: str = "") -> list[str]:
        return self.store.names(folder)

    def variant_names(self) -> list[str]:
        return self.store.names("motion")

    def finished(self, stage: str) -> set[int]:
        stems = (name.removesuffix(".json") for name in self.store.listing(f"receipts/{stage}"))
        return {int(stem) for stem in stems if stem.isdecimal()}

    def sizes(self, below: str = "") -> dict[str, int]:
        found: Counter[str] = Counter()
        for key, entry in self.store.listing("").items():
            attempt = _IN_ATTEMPT.match(key)
            found[part_of(key[attempt.end() :] if attempt else key)] += entry.size
        return dict(found)

    def publish(self, path: Path) -> None:
        self.store.upload([path], [self.key(path)])

    def withdraw(self, path: Path) -> None:
        self.store.remove_all(self.key(path))
        files.remove(path)

    def remove_variant(self, variant: Variant) -> None:
        self.withdraw(self.root / "receipts" / motion_stage(variant))
        self.withdraw(self.variant_folder(variant))
        self.store.remove_all(f"attempts/{motion_stage(variant)}")
        self.refresh()

    def refresh(self) -> None:
        self._session.seen.clear()
        self._session.places.clear()

    def expect_many(self) -> None:
        self._session.many = True

    @property
    def store(self) -> Store:
        return self._session.store

    @property
    def objects(self) -> LocalObjects:
        return self._session.objects

    @property
    def _session(self) -> "_Session":
        return _session(self)

    def key(self, path: Path) -> str:
        """Return the key of a file that is not a shard's; a shard's file has this key below its receipt's prefix."""
        return path.relative_to(self.root).as_posix()

    def fetch(self, key: str, digest: str) -> Path:
        """Return a copy here of the object with this key and SHA-256. Raises FileNotFoundError if it is missing."""

        def size() -> int:
            entry = self.store.entry(key)
            if entry is None:
                raise FileNotFoundError(f"{self.url}/{key} is missing: run `s2vc-prep verify`")
            return entry.size

        return self.objects.get(digest, size, lambda path: self.store.download(key, path))

    def deliver(self, here: Layout, receipt: Receipt) -> None:
        """Upload what was made in a folder of this machine, then its receipt, which makes it part of the cache.

        Other attempts at the shard and, after an encode, renderings of other latents are removed.
        """
        names, stage, shard = list(receipt.files), receipt.stage, receipt.shard
        attempt = hashlib.sha256(json.dumps(receipt.files).encode()).hexdigest()[:16]
        receipt = dataclasses.replace(receipt, prefix=f"{attempts_of(stage, shard)}/{attempt}")
        self.store.upload([here.root / name for name in names], [f"{receipt.prefix}/{name}" for name in names])
        for name in names:
            self.objects.adopt(here.root / name, receipt.files[name])
        if stage == ENCODE:
            remove_stale_renderings(self, shard, receipt)
        self.store.write(self.key(super().receipt(stage, shard)), receipt.text().encode())
        self.refresh()
        for other in self.store.names(attempts_of(stage, shard)):
            if other != attempt:
                self.store.remove_all(f"{attempts_of(stage, shard)}/{other}")

    def _object(self, stage: str, shard: int, path: Path) -> Path:
        """Return the copy of a shard's file; if the shard is not done, return a path where nothing is."""
        name, places = self.key(path), self._session.places
        if name not in places:
            receipt = read_receipt(self, stage, shard)
            if receipt is None or name not in receipt.files:
                return path
            places[name] = f"{receipt.prefix}/{name}", receipt.files[name]
        return self.fetch(*places[name])

    def _copy(self, path: Path) -> Path:
        """Copy a small file as the store has it when this process first asks, and return its path.

        Nothing is there if the store has no such file.
        """
        key = self.key(path)
        if key not in self._session.seen:
            content = self.store.read(key)
            if content is None:
                path.unlink(missing_ok=True)
            else:
                _put(path, content)
            self._session.seen.add(key)
        return path

    def _copy_if_changed(self, path: Path, key: str) -> None:
        """Copy a larger file, but only if it differs from the last copy."""
        entry, note = self.store.entry(key), path.with_name(f"{path.name}.version")
        if entry is None:
            path.unlink(missing_ok=True)
        elif not (path.exists() and note.exists() and note.read_text() == entry.version):
            _put(path, self.store.read(key) or b"")
            _put(note, entry.version.encode())

    def _copy_receipts(self, stage: str) -> None:
        """Copy all receipts of a stage, by one listing; those that are here already are not read again."""
        prefix = f"receipts/{stage}"
        if prefix in self._session.seen:
            return
        folder, note = self.root / prefix, self.root / f"{prefix}.versions.json"
        there = {k: e.version for k, e in self.store.listing(prefix).items() if "/" not in k}
        known = _known(note)
        changed = [k for k, version in there.items() if known.get(k) != version or not (folder / k).exists()]
        for key, content in self.store.read_all([f"{prefix}/{k}" for k in changed]).items():
            _put(self.root / key, content)
        for path in folder.glob("*.json"):
            if path.name not in there:
                path.unlink(missing_ok=True)
        _put(note, json.dumps(there).encode())
        self._session.seen.add(prefix)


class _Session:
    """A session holds what a process knows of a remote cache.

    seen: keys and stages whose copies are as the store has them. places: keys and SHA-256 of shards' files, by name.
    many: whether receipts are copied a stage at a time.
    """

    def __init__(self, url: str, local: Path, limit: int):
        self.store = Store(url)
        self.objects = LocalObjects(local, limit)
        self.seen: set[str] = set()
        self.places: dict[str, tuple[str, str]] = {}
        self.many = False


@lru_cache(maxsize=16)
def _session(layout: RemoteLayout) -> _Session:
    session = _Session(layout.url, layout.local, layout.limit)
    _open_sessions.append(session)
    return session


_open_sessions: list[_Session] = []


def _forked() -> None:
    """Drop the sessions in a forked process: its parent's leases and connections are not its own."""
    for session in _open_sessions:
        session.objects.release()
    _open_sessions.clear()
    _session.cache_clear()


os.register_at_fork(after_in_child=_forked)


def _known(note: Path) -> dict[str, str]:
    try:
        return {str(k): str(v) for k, v in files.read_json(note).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _put(path: Path, content: bytes) -> None:
    """Write a copy, complete or not at all; it is not synced, since it can be fetched again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    aside.write_bytes(content)
    aside.replace(path)
