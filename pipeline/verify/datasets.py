"""HDF5 datasets that are taken at their word only so far as the file bears it out."""

import math
from typing import Any

import numpy as np

from pipeline.verify.problem import Malformed

MAX_CHUNK_BYTES = 16 << 20
"""A chunk is unpacked whole, however little of it is asked for; ours have 98 kB."""


def own_dataset(file: Any, name: str, dtype: type, shape: tuple[int | None, ...]) -> Any:
    """A dataset of an open h5py.File, of that type and shape (None: any length), stored whole in the file itself.

    Nothing of it is read. Raises Malformed, which says what is wrong.
    """
    dataset = _dataset(file, name)
    if dataset.dtype != np.dtype(dtype):
        raise Malformed(f"{name} is {dataset.dtype}, {np.dtype(dtype)} is expected")
    if len(dataset.shape or ()) != len(shape) or not all(
        e in (None, n) for n, e in zip(dataset.shape, shape, strict=True)
    ):
        expected = tuple("n" if n is None else n for n in shape)
        raise Malformed(f"{name} is {_plain(dataset.shape)}, {_plain(expected)} is expected")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        raise Malformed(f"{name} is stored in chunks of {_plain(dataset.chunks)}, too large to be unpacked")
    # A few bytes can claim any shape. Where nothing is compressed, the space taken shows whether it is true.
    if not dataset.compression and dataset.id.get_storage_size() < dataset.nbytes:
        raise Malformed(f"{name} is {_plain(dataset.shape)}, but is not stored whole")
    return dataset


def own_texts(file: Any, name: str, count: int) -> list[str]:
    """A dataset of so many texts, read. Raises Malformed."""
    dataset = _dataset(file, name)
    if dataset.dtype.kind != "O" or dataset.shape != (count,):
        raise Malformed(f"{name} are not {count} texts")
    try:
        return list(dataset.asstr()[:])
    except (TypeError, UnicodeDecodeError):
        raise Malformed(f"{name} are not texts in UTF-8") from None


def _dataset(file: Any, name: str) -> Any:
    link = file.get(name, getlink=True)
    if link is None:
        raise Malformed(f"has no dataset {name}")
    # Soft and external links have a path; an external one would make h5py read another file.
    if hasattr(link, "path"):
        raise Malformed(f"{name} is a link")
    dataset = file[name]
    if not hasattr(dataset, "chunks"):
        raise Malformed(f"{name} is no dataset")
    if dataset.is_virtual or dataset.external:
        raise Malformed(f"{name} takes its values from other files")
    return dataset


def _plain(shape: tuple[Any, ...] | None) -> str:
    return " x ".join(map(str, shape)) if shape else "a single value"
