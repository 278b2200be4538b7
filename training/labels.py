"""The classes of a cache's videos, as the manifest numbers them or as another of its columns names them."""

from dataclasses import dataclass

import numpy as np

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import class_names, number_classes
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.index import further_columns
from s2vc.training.choices import LABEL


@dataclass(frozen=True)
class Labels:
    """Holds the class of each row of a cache's index: numbers (N,) int64, -1 for none, and names (N,), "" for none."""

    numbers: np.ndarray
    names: np.ndarray


def read_labels(cache: Cache, column: str = LABEL) -> Labels:
    """Read the classes that a column gives. LABEL has the manifest's own numbers; a class without a name has its number
    for one. Any other column holds names, which are numbered in their sorted order over the whole cache.
    Raises UserError for a column that is not there."""
    if column == LABEL:
        numbers = cache.index[LABEL].fillna(-1).to_numpy(np.int64)
        return Labels(numbers, np.where(numbers < 0, "", class_names(cache.index).to_numpy(dtype=object)))
    if column not in (known := label_columns(cache)):
        raise UserError(
            f"{cache.storage} has no column {column!r} of labels; it has {', '.join(known)} "
            "(a column that the manifest got later comes with `s2vc-prep encode`)"
        )
    names = cache.index[column].to_numpy(dtype=object)
    return Labels(np.array([int(number or -1) for number in number_classes(names)], dtype=np.int64), names)


def label_columns(cache: Cache) -> list[str]:
    """List the columns that may be asked for."""
    return [LABEL, "class_name", *further_columns(cache.index)]
