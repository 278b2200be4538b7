"""Read HDF5 datasets only after checking that the file really holds what their headers claim."""

from typing import Any

import numpy as np

from s2vc.pipeline.storage.files import Malformed
from s2vc.pipeline.storage.hdf5 import plain, sound_dataset


def checked_dataset(file: Any, name: str, dtype: type, shape: tuple[int | None, ...]) -> Any:
    """Return a dataset of an open h5py.File after checking its type, its shape and that all of it is in the file.

    shape: the expected lengths; None stands for any length. No data are read. Raises Malformed with what is wrong.
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
    """Return the texts of a dataset. Raises Malformed if it does not hold `count` texts in UTF-8."""
    dataset = sound_dataset(file, name)
    if dataset.dtype.kind != "O" or dataset.shape != (count,):
        raise Malformed(f"{name} are not {count} texts")
    try:
        return list(dataset.asstr()[:])
    except (TypeError, UnicodeDecodeError):
        raise Malformed(f"{name} are not texts in UTF-8") from None
