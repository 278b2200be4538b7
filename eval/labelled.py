"""The rows of a cache that a task with labels works on."""

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np

from s2vc.eval.features import frames_hash
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.labels import LABEL, read_labels
from s2vc.training.selection import split_column


@dataclass(frozen=True)
class LabelledRows:
    """Holds numbers of rows of the cache's index, (N,), and their classes, (N,) int64, by the column `label`."""

    cache: Cache
    split: str
    rows: np.ndarray
    labels: np.ndarray
    label: str = LABEL

    @property
    def names(self) -> np.ndarray:
        """Name the class of each row: (N,) of text."""
        return read_labels(self.cache, self.label).names[self.rows]

    @property
    def fingerprint(self) -> str:
        """Hash what a classifier learns from: which videos, their stored frames, and their classes."""
        digest = hashlib.sha256(frames_hash(self.cache, self.rows).encode())
        digest.update(self.labels[np.argsort(self.rows)].astype("<i8").tobytes())
        return digest.hexdigest()


def split_rows(cache: Cache, split: str | None, part: str) -> tuple[str, np.ndarray]:
    """Choose the split column (None: the first), and the rows (N,) with frames that it assigns to a part. Raises
    UserError where there are none."""
    column = split_column(cache, split)
    index = cache.index
    if column not in index:
        raise UserError(f"{cache.storage} has no split column: give one in the manifest (train, test)")
    chosen = np.flatnonzero((index[column] == part) & (index["frames"] > 0))
    if len(chosen) == 0:
        raise UserError(f"{cache.storage} has no {part} videos with frames in column {column}")
    return column, chosen


def labelled_rows(cache: Cache, split: str | None, part: str, label: str = LABEL) -> LabelledRows:
    """Select the rows that `split` (None: the first) assigns to a part (train, test, val), with frames and a label.

    label: the column of the classes (training.labels). Raises UserError where it is not there, where there are no rows,
    where labels are missing, and where there is one class only.
    """
    column, chosen = split_rows(cache, split, part)
    labels = read_labels(cache, label).numbers[chosen]
    if len(unlabelled := chosen[labels < 0]):
        video = cache.index["video_id"].iloc[unlabelled[0]]
        raise UserError(f"{len(unlabelled)} {part} videos have no {label}, first {video}")
    if len(np.unique(labels)) < 2:
        raise UserError(f"all {len(chosen)} {part} videos are of one class: there is nothing to tell apart")
    return LabelledRows(cache, column, chosen, labels, label)


def classes_in(*parts: LabelledRows) -> tuple[np.ndarray, list[str]]:
    """List all classes of some parts of one cache: their labels (classes,) int64, ascending, and their names."""
    labels, first = np.unique(np.concatenate([part.labels for part in parts]), return_index=True)
    return labels, [str(name) for name in np.concatenate([part.names for part in parts])[first]]


def number_together(*parts: LabelledRows) -> list[LabelledRows]:
    """Number the classes of parts of several caches by name, since each cache numbers its own names."""
    known = np.unique(np.concatenate([part.names for part in parts]).astype(str))
    return [dataclasses.replace(part, labels=np.searchsorted(known, part.names.astype(str))) for part in parts]


def label_entry(label: str) -> dict[str, str]:
    """Give what the description of a result says of the column of labels: nothing of the usual one."""
    return {} if label == LABEL else {"label": label}
