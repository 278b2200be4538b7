"""This module reads, writes and lists the objects of a store that is named by its fsspec URL (s3://bucket/cache)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from s2vc.manifests.errors import UserError

_URL = re.compile(r"([a-z][a-z0-9+.:-]*)://", re.IGNORECASE)

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
"""This extra of our package installs what a protocol needs."""


class StoreError(UserError, OSError):
    """The store cannot be reached, or refuses; no video is to blame."""

    exit_code = 1


def is_url(text: object) -> bool:
    """Return whether a cache is named by a URL and not by a path."""
    return _URL.match(str(text)) is not None


@dataclass(frozen=True)
class Entry:
    """An entry describes an object in a listing.

    size: bytes. version: a text that changes with the content. modified: seconds, by the store's clock.
    """

    size: int
    version: str
    modified: float


@dataclass(frozen=True)
class RemoteGroup:
    """This names a Zarr group, or something in it, that stays in the store and is read there."""

    store: "Store"
    key: str

    def __truediv__(self, name: str) -> "RemoteGroup":
        return RemoteGroup(self.store, f"{self.key}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def url(self) -> str:
        return f"{self.store.url}/{self.key}"

    def exists(self) -> bool:
        return self.store.entry(self.key) is not None


class Store:
    """A store holds the objects below a URL. Keys are relative to it, with slashes.

    Credentials are found where the service's own tools look for them (environment, its configuration, the machine's
    role); none is taken from the URL, printed or stored. Methods raise StoreError if the store cannot be reached or
    refuses, and UserError if the URL's protocol is unknown or its package is not installed.
    """

    def __init__(self, url: str):
        """Raise UserError if this is no URL, if it names several protocols, or if it holds credentials."""
        match = _URL.match(url)
        if match is None or "::" in url:
            raise UserError(f"{url!r} is no URL of a store: write PROTOCOL://BUCKET/FOLDER")
        if "@" in url.split("/")[2]:
            raise UserError("the URL of a store holds no credentials: set them the way its own tools find them")
        self.url = url.rstrip("/")
        self._protocol = match[1].lower()

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """This holds fsspec's file system, and the path that all keys lie below."""
        import fsspec

        # Workers elsewhere change the listings, so they must not be cached.
        options: dict[str, Any] = {"use_listings_cache": False}
        if self._protocol in ("file", "local"):
            options["auto_mkdir"] = True
        try:
            with self._as_store_error():
                system, base = fsspec.url_to_fs(self.url, **options)
        except ImportError as error:
            extra = EXTRAS.get(self._protocol)
            hint = f": pip install 's2vc[{extra}]'" if extra else f" ({error})"
            raise UserError(f"{self._protocol}:// needs a package that is not installed{hint}") from error
        except ValueError as error:
            raise UserError(f"{self.url}: {error}") from error
        return system, base.rstrip("/")

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    def _path(self, key: str) -> str:
        base = self._opened[1]
        return f"{base}/{key}" if key else base

    @contextmanager
    def _as_store_error(self) -> Iterator[None]:
        """Turn whatever the service's library raises into a StoreError; FileNotFoundError is left to the caller."""
        try:
            yield
        except (FileNotFoundError, UserError, ImportError, ValueError):
            raise
        except Exception as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreError(f"{self.url} cannot be used: {said}") from error

    def read(self, key: str) -> bytes | None:
        """Return an object's content, or None if there is no such object."""
        with self._as_store_error():
            try:
                return bytes(self._fs.cat_file(self._path(key)))
            except FileNotFoundError:
                return None

    def read_all(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of those objects that are there, by key; many are read at a time."""
        if not keys:
            return {}
        paths = {self._path(key): key for key in keys}
        with self._as_store_error():
            found = self._fs.cat(list(paths), on_error="return")
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        stripped = {self._fs._strip_protocol(path): key for path, key in paths.items()}
        return {stripped[path]: content for path, content in found.items() if isinstance(content, bytes)}

    def write(self, key: str, content: bytes) -> None:
        """Write an object of this content, in place of one that may be there."""
        with self._as_store_error():
            self._fs.pipe_file(self._path(key), content)

    def upload(self, paths: Sequence[Path], keys: Sequence[str]) -> None:
        """Upload files as objects, several at a time."""
        with self._as_store_error():
            self._fs.put([str(path) for path in paths], [self._path(key) for key in keys])

    def download(self, key: str, path: Path) -> None:
        """Download an object to a path. Raises FileNotFoundError if there is no such object."""
        with self._as_store_error():
            self._fs.get_file(self._path(key), str(path))

    def open(self, key: str, block: int) -> IO[bytes]:
        """Open an object to read parts of it, `block` bytes at a time. Raises FileNotFoundError if there is none."""
        with self._as_store_error():
            return self._fs.open(self._path(key), "rb", block_size=block)

    def entry(self, key: str) -> Entry | None:
        """Return what a listing says of an object, or None if there is no such object."""
        with self._as_store_error():
            try:
                return _entry(self._fs.info(self._path(key)))
            except FileNotFoundError:
                return None

    def listing(self, prefix: str) -> dict[str, Entry]:
        """Return every object below a prefix, by its key relative to the prefix."""
        base = self._path(prefix)
        with self._as_store_error():
            try:
                found = self._fs.find(base, detail=True)
            except FileNotFoundError:
                return {}
        return {path[len(base) + 1 :]: _entry(info) for path, info in found.items()}

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of what lies directly below a prefix, sorted; objects and folders alike."""
        with self._as_store_error():
            try:
                found = self._fs.ls(self._path(prefix), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted({path.rstrip("/").rsplit("/", 1)[-1] for path in found})

    def remove(self, key: str) -> None:
        """Remove an object; it may be missing."""
        with self._as_store_error(), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def remove_all(self, key: str) -> None:
        """Remove an object and everything below it."""
        for name in self.listing(key):
            self.remove(f"{key}/{name}" if name else key)


def _entry(info: dict[str, Any]) -> Entry:
    stamp = next((info[key] for key in ("LastModified", "last_modified", "updated", "mtime") if info.get(key)), 0.0)
    if isinstance(stamp, str):
        stamp = datetime.fromisoformat(stamp)
    modified = stamp.timestamp() if isinstance(stamp, datetime) else float(stamp)
    version = info.get("ETag") or info.get("etag") or f"{modified} {info.get('ino')}"
    return Entry(int(info.get("size") or 0), str(version).strip('"'), modified)
