"""The rows of a cache that a task with labels works on."""

from dataclasses import dataclass

import numpy as np

from manifests.errors import UserError
from pipeline.cache import Cache
from training.choice import split_column


@dataclass(frozen=True)
class Labelled:
    """rows: numbers of rows of the cache's index, (N,); labels: their classes, (N,) int64."""

    cache: Cache
    split: str
    rows: np.ndarray
    labels: np.ndarray


def labelled_rows(cache: Cache, split: str | None, part: str) -> Labelled:
    """The rows that `split` (None: the first column) assigns to a part (train, test, val), with frames and a label.

    Raises UserError where there are none, where labels are missing, and where there is one class only.
    """
    column = split_column(cache, split)
    if column not in cache.index:
        raise UserError(f"{cache.layout.root} has no split column: give one in the manifest (train, test)")
    index = cache.index
    chosen = np.flatnonzero((index[column] == part) & (index["frames"] > 0))
    if len(chosen) == 0:
        raise UserError(f"{cache.layout.root} has no {part} videos with frames in column {column}")
    labels = index["label"].iloc[chosen]
    if labels.isna().any():
        video = index["video_id"].iloc[chosen[int(labels.isna().to_numpy().argmax())]]
        raise UserError(f"{int(labels.isna().sum())} {part} videos have no label, first {video}")
    if labels.nunique() < 2:
        raise UserError(f"all {len(chosen)} {part} videos are of one class: there is nothing to tell apart")
    return Labelled(cache, column, chosen, labels.to_numpy(np.int64))
