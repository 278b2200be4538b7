"""HDF5 datasets that are taken at their word only so far as the file bears it out."""

from typing import Any

import numpy as np

from s2vc.pipeline.storage.files import Malformed
from s2vc.pipeline.storage.hdf5 import plain, sound_dataset


def checked_dataset(file: Any, name: str, dtype: type, shape: tuple[int | None, ...]) -> Any:
    """A dataset of an open h5py.File, of that type and shape (None: any length), stored whole in the file itself.

    Nothing of it is read. Raises Malformed, which says what is wrong.
    """
    dataset = sound_dataset(file, name)
    if dataset.dtype != np.dtype(dtype):
        raise Malformed(f"{name} is {dataset.dtype}, {np.dtype(dtype)} is expected")
    if len(dataset.shape or ()) != len(shape) or not all(
        e in (None, n) for n, e in zip(dataset.shape, shape, strict=True)
    ):
        expected = tuple("n" if n is None else n for n in shape)
        raise Malformed(f"{name} is {plain(dataset.shape)}, {plain(expected)} is expected")
    return dataset


def checked_texts(file: Any, name: str, count: int) -> list[str]:
    """A dataset of so many texts, read. Raises Malformed."""
    dataset = sound_dataset(file, name)
    if dataset.dtype.kind != "O" or dataset.shape != (count,):
        raise Malformed(f"{name} are not {count} texts")
    try:
        return list(dataset.asstr()[:])
    except (TypeError, UnicodeDecodeError):
        raise Malformed(f"{name} are not texts in UTF-8") from None
