"""The rows of a cache that a task with labels works on."""

from dataclasses import dataclass

import numpy as np

from eval.videos import class_names
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


def split_rows(cache: Cache, split: str | None, part: str) -> tuple[str, np.ndarray]:
    """The split column that is meant (None: the first), and the rows (N,) that it assigns to a part, with frames.

    Raises UserError where there are none.
    """
    column = split_column(cache, split)
    index = cache.index
    if column not in index:
        raise UserError(f"{cache.layout} has no split column: give one in the manifest (train, test)")
    chosen = np.flatnonzero((index[column] == part) & (index["frames"] > 0))
    if len(chosen) == 0:
        raise UserError(f"{cache.layout} has no {part} videos with frames in column {column}")
    return column, chosen


def labelled_rows(cache: Cache, split: str | None, part: str) -> Labelled:
    """The rows that `split` (None: the first column) assigns to a part (train, test, val), with frames and a label.

    Raises UserError where there are none, where labels are missing, and where there is one class only.
    """
    column, chosen = split_rows(cache, split, part)
    labels = cache.index["label"].iloc[chosen]
    if labels.isna().any():
        video = cache.index["video_id"].iloc[chosen[int(labels.isna().to_numpy().argmax())]]
        raise UserError(f"{int(labels.isna().sum())} {part} videos have no label, first {video}")
    if labels.nunique() < 2:
        raise UserError(f"all {len(chosen)} {part} videos are of one class: there is nothing to tell apart")
    return Labelled(cache, column, chosen, labels.to_numpy(np.int64))


def classes_of(*parts: Labelled) -> tuple[np.ndarray, list[str]]:
    """All classes of some parts of one cache: their labels (classes,) int64, ascending, and their names."""
    labels, first = np.unique(np.concatenate([part.labels for part in parts]), return_index=True)
    rows = np.concatenate([part.rows for part in parts])[first]
    return labels, [str(name) for name in class_names(parts[0].cache)[rows]]
