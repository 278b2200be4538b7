"""HDF5 as the shards use it: datasets that grow, a checksum on every chunk, bytes that depend on the content alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.files import attempt

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


@lru_cache(maxsize=OPEN_FILES)
def _open(path: str, pid: int, inode: int, changed: int) -> h5py.File:
    # Process and file identity are part of the key: handles do not survive a fork, and a shard may be replaced.
    return h5py.File(path, "r", locking=False)
