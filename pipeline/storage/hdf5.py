"""HDF5 as the shards use it: datasets that grow, a checksum on every chunk, bytes that depend on the content alone."""

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError

from s2vc.pipeline.storage.files import Malformed, attempt

FLETCHER_BYTES = 4
"""At the end of a chunk with HDF5's checksum."""

OPEN_FILES = 64
"""Shards a process keeps open for reading."""

MAX_CHUNK_BYTES = 16 << 20
"""A chunk is unpacked whole, however little of it is asked for; ours have 98 kB."""


class _Storage(io.RawIOBase):
    """The file that HDF5 writes to. It never hears of a failure, after which it would take the process with it when it
    closes the file: the first one is kept, for `check`, and what comes after it goes nowhere."""

    def __init__(self, path: Path):
        self._path, self._place = path, 0
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the OSError that there was, if any."""
        if self._failure is not None:
            raise self._failure

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        count = len(left)
        with self._keeping():
            while len(left) and self._failure is None:
                written = os.pwrite(self._handle, left, self._place + count - len(left))
                left = left[written:]
        self._place += count
        return count

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        filled = 0
        with self._keeping():
            filled = os.preadv(self._handle, [view], self._place)
        self._place += filled
        return filled

    def truncate(self, size: int | None = None) -> int:
        with self._keeping():
            if self._failure is None:
                os.ftruncate(self._handle, self._place if size is None else size)
        return size or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            with self._keeping():
                offset += os.fstat(self._handle).st_size
        self._place = offset + (self._place if whence == os.SEEK_CUR else 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def close(self) -> None:
        if not self.closed:
            os.close(self._handle)
        super().close()

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = str(self._path)
            self._failure = self._failure or error


class Growing:
    """A dataset that is appended to along its first axis. Raises OSError where storage fails."""

    def __init__(self, dataset: h5py.Dataset, storage: _Storage):
        self._dataset, self._storage = dataset, storage

    def __len__(self) -> int:
        return len(self._dataset)

    def append(self, rows: np.ndarray) -> None:
        before = len(self._dataset)
        self._dataset.resize(before + len(rows), axis=0)
        self._dataset[before:] = rows
        self._storage.check()


class ShardFile:
    """A shard that is being written."""

    def __init__(self, file: h5py.File, storage: _Storage):
        self._file, self._storage = file, storage

    def growing(self, name: str, row: tuple[int, ...], dtype: Any, chunk_rows: int, compress: bool = False) -> Growing:
        """A new dataset (0, *row), in chunks of `chunk_rows` rows with a checksum each; gzip where it pays."""
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1} if compress else {}
        return Growing(
            self._file.create_dataset(
                name,
                (0, *row),
                dtype,
                maxshape=(None, *row),
                chunks=(chunk_rows, *row),
                fletcher32=True,
                **options,
            ),
            self._storage,
        )

    def put(self, name: str, values: np.ndarray | list[str]) -> None:
        """A small dataset, whole; a list of strings becomes variable-length UTF-8."""
        if isinstance(values, list):
            self._file.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())
        else:
            self._file.create_dataset(name, data=values)


@contextmanager
def write_shard(path: Path) -> Iterator[ShardFile]:
    """A new HDF5 file at `path` when the block ends without an error. Raises OSError where storage fails."""
    with attempt(path) as aside, _Storage(aside) as storage:
        try:
            with h5py.File(storage, "w") as file:
                yield ShardFile(file, storage)
        finally:
            storage.check()


def read_shard(path: Path) -> h5py.File:
    """The file, open for reading; a process keeps a bounded number open, each opened by that process itself.

    Raises OSError where there is no file or it is no HDF5.
    """
    status = path.stat()
    return _open(str(path), os.getpid(), status.st_ino, status.st_mtime_ns)


def read_dataset(path: Path, name: str) -> h5py.Dataset:
    """A dataset of a shard, for slices; it is kept open with its file, since to open one takes as long as to read one.

    Raises OSError where there is no file or it is no HDF5, Malformed where there is no such dataset, or an unsound one.
    """
    status = path.stat()
    return _open_dataset(str(path), os.getpid(), status.st_ino, status.st_mtime_ns, name)


def read_array(path: Path, name: str) -> np.ndarray:
    """A small dataset of a shard, whole and kept in memory; not to be written into. Raises as `read_dataset` does."""
    status = path.stat()
    return _array(str(path), status.st_ino, status.st_mtime_ns, name)


def read_gzipped_rows(path: Path, name: str, start: int, stop: int) -> np.ndarray:
    """dataset[start:stop] of a gzipped dataset as `ShardFile.growing` makes them, unpacked by ISA-L, in half the time.

    The checksum in each chunk's zlib stream (Adler-32) is compared in place of HDF5's. Raises OSError where it differs.
    """
    dataset = read_dataset(path, name)
    if not dataset.chunks:
        raise Malformed(f"{path}: {name} is not in chunks")
    rows, *rest = dataset.chunks
    count = rows * int(np.prod(rest)) * dataset.dtype.itemsize
    chunks = []
    for first in range(start - start % rows, stop, rows):
        _, stored = dataset.id.read_direct_chunk((first, *[0] * len(rest)))
        try:
            # No more than is expected: a few bytes can unpack to gigabytes.
            content = isal_zlib.decompressobj().decompress(memoryview(stored)[:-FLETCHER_BYTES], max_length=count)
        except (IsalError, EOFError, ValueError) as error:  # type: ignore[misc] # its stubs call the class an instance
            raise OSError(f"{path}: a chunk of {name} is damaged ({error})") from None
        chunks.append(np.frombuffer(content, dataset.dtype).reshape(rows, *rest))
    return np.concatenate(chunks)[start % rows : start % rows + stop - start]


def close_files() -> None:
    """Close what this process keeps open for reading: files that were removed meanwhile take room until then."""
    _open_dataset.cache_clear()
    _open.cache_clear()


def read_part(file: IO[bytes], name: str) -> np.ndarray:
    """A small dataset of a shard that is open as a stream: no more of it is read than that takes."""
    with h5py.File(file, "r") as shard:
        return _whole(sound_dataset(shard, name), str(file))


def sound_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset that is stored whole in the file itself, in chunks that can be unpacked; nothing of it is read.

    Raises Malformed: what a file from a stranger claims is taken at its word only so far as the file bears it out.
    """
    link = file.get(name, getlink=True)
    if link is None:
        raise Malformed(f"has no dataset {name}")
    # Soft and external links have a path; an external one would make h5py read another file.
    if hasattr(link, "path"):
        raise Malformed(f"{name} is a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise Malformed(f"{name} is no dataset")
    if dataset.is_virtual or dataset.external:
        raise Malformed(f"{name} takes its values from other files")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        raise Malformed(f"{name} is stored in chunks of {plain(dataset.chunks)}, too large to be unpacked")
    # A few bytes can claim any shape. Where nothing is compressed, the space taken shows whether it is true.
    if not dataset.compression and dataset.dtype.kind != "O" and dataset.id.get_storage_size() < dataset.nbytes:
        raise Malformed(f"{name} is {plain(dataset.shape)}, but is not stored whole")
    return dataset


def plain(shape: tuple[Any, ...] | None) -> str:
    """A shape for a person: 40 x 64 x 64 x 3."""
    return " x ".join(map(str, shape)) if shape else "a single value"


@lru_cache(maxsize=4 * OPEN_FILES)
def _open_dataset(path: str, pid: int, inode: int, changed: int, name: str) -> h5py.Dataset:
    try:
        return sound_dataset(_open(path, pid, inode, changed), name)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


@lru_cache(maxsize=8 * OPEN_FILES)
def _array(path: str, inode: int, changed: int, name: str) -> np.ndarray:
    return _whole(_open_dataset(path, os.getpid(), inode, changed, name), path)


def _whole(dataset: h5py.Dataset, path: str) -> np.ndarray:
    if dataset.compression or not dataset.shape:
        raise Malformed(f"{path}: {dataset.name} is no plain array")
    return np.asarray(dataset[:])


@lru_cache(maxsize=OPEN_FILES)
def _open(path: str, pid: int, inode: int, changed: int) -> h5py.File:
    # Process and file identity are part of the key: handles do not survive a fork, and a shard may be replaced.
    # Every dataset kept open would have a cache of its own for chunks that are not asked for again.
    return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
