"""HDF5 as the shards use it: datasets grow, every chunk has a checksum, and the bytes depend on the content alone."""

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
"""HDF5's checksum takes this many bytes at the end of a chunk."""

OPEN_FILES = 64
"""A process keeps this many shards open for reading."""

MAX_CHUNK_BYTES = 16 << 20
"""Larger chunks are refused, since a chunk is unpacked completely, however little of it is needed; ours have 98 kB."""


class _Storage(io.RawIOBase):
    """HDF5 writes to this file and never learns of a failure, after which it would crash the process at closing.

    The first failure is kept for `check`, and whatever is written after it is dropped.
    """

    def __init__(self, path: Path):
        self._path, self._place = path, 0
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the first OSError, if there was one."""
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
    """This dataset is appended to along its first axis. Its methods raise OSError if storage fails."""

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
    """This is a shard that is being written."""

    def __init__(self, file: h5py.File, storage: _Storage):
        self._file, self._storage = file, storage

    def growing(self, name: str, row: tuple[int, ...], dtype: Any, chunk_rows: int, compress: bool = False) -> Growing:
        """Add a dataset (0, *row), in chunks of `chunk_rows` rows with a checksum each; `compress` means gzip."""
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
        """Write a small dataset at once; a list of strings becomes variable-length UTF-8."""
        if isinstance(values, list):
            self._file.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())
        else:
            self._file.create_dataset(name, data=values)


@contextmanager
def write_shard(path: Path) -> Iterator[ShardFile]:
    """Write a new HDF5 file, which is at `path` if the block ends without an error. Raises OSError if storage fails."""
    with attempt(path) as aside, _Storage(aside) as storage:
        try:
            with h5py.File(storage, "w") as file:
                yield ShardFile(file, storage)
        finally:
            storage.check()


def read_shard(path: Path) -> h5py.File:
    """Return a file that is open for reading. Each process opens its own, and keeps a bounded number of them open.

    Raises OSError if there is no file or it is not HDF5.
    """
    status = path.stat()
    return _open(str(path), os.getpid(), status.st_ino, status.st_mtime_ns)


def read_dataset(path: Path, name: str) -> h5py.Dataset:
    """Return a dataset of a shard, to be read by slices; it stays open, since opening takes as long as reading.

    Raises OSError if there is no file or it is not HDF5, and Malformed if the dataset is missing or unsound.
    """
    status = path.stat()
    return _open_dataset(str(path), os.getpid(), status.st_ino, status.st_mtime_ns, name)


def read_array(path: Path, name: str) -> np.ndarray:
    """Return a small dataset of a shard as an array, which is kept in memory and must not be written into.

    Raises what `read_dataset` raises, and Malformed if the dataset is compressed or a single value.
    """
    status = path.stat()
    return _array(str(path), status.st_ino, status.st_mtime_ns, name)


def read_gzipped_rows(path: Path, name: str, start: int, stop: int) -> np.ndarray:
    """Return dataset[start:stop] of a dataset that `ShardFile.growing` compressed; ISA-L unpacks it in half the time.

    The checksum in each chunk's zlib stream (Adler-32) is compared in place of HDF5's. Raises OSError if it differs,
    and Malformed if the dataset is not in chunks.
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
            # The size is limited to what is expected, since a few bytes can unpack to gigabytes.
            content = isal_zlib.decompressobj().decompress(memoryview(stored)[:-FLETCHER_BYTES], max_length=count)
        except (IsalError, EOFError, ValueError) as error:  # type: ignore[misc] # its stubs call the class an instance
            raise OSError(f"{path}: a chunk of {name} is damaged ({error})") from None
        chunks.append(np.frombuffer(content, dataset.dtype).reshape(rows, *rest))
    return np.concatenate(chunks)[start % rows : start % rows + stop - start]


def close_files() -> None:
    """Close the files that this process keeps open for reading; files removed meanwhile take disk space until then."""
    _open_dataset.cache_clear()
    _open.cache_clear()


def read_part(file: IO[bytes], name: str) -> np.ndarray:
    """Return a small dataset of a shard that is open as a stream; no more of the stream is read than that takes."""
    with h5py.File(file, "r") as shard:
        return whole_array(sound_dataset(shard, name), str(file))


def whole_array(dataset: h5py.Dataset, path: str) -> np.ndarray:
    """Return a small dataset of the file at a path as an array. Raises Malformed if it is compressed or a single value:
    a few bytes could claim any shape."""
    if dataset.compression or not dataset.shape:
        raise Malformed(f"{path}: {dataset.name} is no plain array")
    return np.asarray(dataset[:])


def sound_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset if it is stored completely in the file itself, in chunks that can be unpacked; nothing is read.

    Raises Malformed if it is not: what a foreign file claims is believed only so far as its contents bear it out.
    """
    # The low-level functions are called, since `file[name]` opens the file once more to ask for its mode.
    place = name.encode()
    if not file.id.links.exists(place):
        raise Malformed(f"has no dataset {name}")
    # An external link would make h5py read another file.
    if file.id.links.get_info(place).type != h5py.h5l.TYPE_HARD:
        raise Malformed(f"{name} is a link")
    try:
        dataset = h5py.Dataset(h5py.h5d.open(file.id, place), readonly=True)
    except KeyError:
        raise Malformed(f"{name} is no dataset") from None
    if dataset.is_virtual or dataset.external:
        raise Malformed(f"{name} takes its values from other files")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        raise Malformed(f"{name} is stored in chunks of {plain(dataset.chunks)}, too large to be unpacked")
    # A few bytes can claim any shape. Without compression, the space taken shows whether the claim is true.
    if not dataset.compression and dataset.dtype.kind != "O" and dataset.id.get_storage_size() < dataset.nbytes:
        raise Malformed(f"{name} is {plain(dataset.shape)}, but is not stored whole")
    return dataset


def plain(shape: tuple[Any, ...] | None) -> str:
    """Write a shape for a person: 40 x 64 x 64 x 3."""
    return " x ".join(map(str, shape)) if shape else "a single value"


@lru_cache(maxsize=4 * OPEN_FILES)
def _open_dataset(path: str, pid: int, inode: int, changed: int, name: str) -> h5py.Dataset:
    try:
        return sound_dataset(_open(path, pid, inode, changed), name)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


@lru_cache(maxsize=8 * OPEN_FILES)
def _array(path: str, inode: int, changed: int, name: str) -> np.ndarray:
    return whole_array(_open_dataset(path, os.getpid(), inode, changed, name), path)


@lru_cache(maxsize=OPEN_FILES)
def _open(path: str, pid: int, inode: int, changed: int) -> h5py.File:
    # Process and file identity are part of the key: handles do not survive a fork, and a shard may be replaced.
    # Without rdcc_nbytes=0, every open dataset would have a cache of its own for chunks that are not asked for again.
    return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
