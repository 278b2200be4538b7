"""HDF5 as the shards use it: datasets that grow, a checksum on every chunk, bytes that depend on the content alone."""

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

from pipeline.files import attempt

FLETCHER_BYTES = 4
"""At the end of a chunk with HDF5's checksum."""

OPEN_FILES = 64
"""Shards a process keeps open for reading."""


class Growing:
    """A dataset that is appended to along its first axis."""

    def __init__(self, dataset: h5py.Dataset):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def append(self, rows: np.ndarray) -> None:
        before = len(self._dataset)
        self._dataset.resize(before + len(rows), axis=0)
        self._dataset[before:] = rows


class ShardFile:
    """A shard that is being written."""

    def __init__(self, file: h5py.File):
        self._file = file

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
            )
        )

    def put(self, name: str, values: np.ndarray | list[str]) -> None:
        """A small dataset, whole; a list of strings becomes variable-length UTF-8."""
        if isinstance(values, list):
            self._file.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())
        else:
            self._file.create_dataset(name, data=values)


@contextmanager
def write_shard(path: Path) -> Iterator[ShardFile]:
    """A new HDF5 file at `path` when the block ends without an error."""
    with attempt(path) as aside, h5py.File(aside, "w") as file:
        yield ShardFile(file)


def read_shard(path: Path) -> h5py.File:
    """The file, open for reading; a process keeps a bounded number open, each opened by that process itself.

    Raises OSError where there is no file or it is no HDF5.
    """
    status = path.stat()
    return _open(str(path), os.getpid(), status.st_ino, status.st_mtime_ns)


def read_dataset(path: Path, name: str) -> h5py.Dataset:
    """A dataset of a shard, for slices; it is kept open with its file, since to open one takes as long as to read one.

    Raises OSError where there is no file or it is no HDF5, KeyError where there is no such dataset.
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
    rows, *rest = dataset.chunks
    count = rows * int(np.prod(rest)) * dataset.dtype.itemsize
    chunks = []
    for first in range(start - start % rows, stop, rows):
        _, stored = dataset.id.read_direct_chunk((first, *[0] * len(rest)))
        try:
            content = isal_zlib.decompress(memoryview(stored)[:-FLETCHER_BYTES], bufsize=count)
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
        return np.asarray(shard[name][:])


@lru_cache(maxsize=4 * OPEN_FILES)
def _open_dataset(path: str, pid: int, inode: int, changed: int, name: str) -> h5py.Dataset:
    return _open(path, pid, inode, changed)[name]


@lru_cache(maxsize=8 * OPEN_FILES)
def _array(path: str, inode: int, changed: int, name: str) -> np.ndarray:
    return np.asarray(_open_dataset(path, os.getpid(), inode, changed, name)[:])


@lru_cache(maxsize=OPEN_FILES)
def _open(path: str, pid: int, inode: int, changed: int) -> h5py.File:
    # Process and file identity are part of the key: handles do not survive a fork, and a shard may be replaced.
    # Every dataset kept open would have a cache of its own for chunks that are not asked for again.
    return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
