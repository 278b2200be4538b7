"""The rows of a cache that a task with labels works on."""

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np

from s2vc.eval.defaults import TEST
from s2vc.eval.features import frames_hash
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.choices import LABEL, TRAIN
from s2vc.training.labels import read_labels
from s2vc.training.selection import parts_to_test, split_column

UNSEEN = "unseen_share"
"""Results have under this name the share of the tested videos whose class no training video shows."""

NAMED = 3
"""So many classes are named where two caches have none in common."""


@dataclass(frozen=True)
class LabelledRows:
    """Holds numbers of rows of the cache's index, (N,), and their classes, (N,) int64, by the column `label`. part: of
    the split, which the rows belong to."""

    cache: Cache
    split: str
    rows: np.ndarray
    labels: np.ndarray
    label: str = LABEL
    part: str = TEST

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
        there = index.loc[index["frames"] > 0, column].replace("", np.nan).value_counts(sort=False)
        counts = ", ".join(f"{count} {name}" for name, count in there.items())
        others = sorted(set(there.index) - {TRAIN})
        hint = f" (s2vc-eval tests on others by --test-split {others[0]})" if part == TEST and others else ""
        raise UserError(
            f"{cache.storage} has no {part} videos with frames in column {column}: it has {counts or 'none'}{hint}"
        )
    return column, chosen


def find_test_part(cache: Cache, split: str | None, label: str | None = None) -> str:
    """Find the part of a split to test on where none is asked for: `test`; where it has no videos, the only other part
    than `train` that has some, such as Kinetics' `val`.

    label: the column of the classes, where only videos that have one count. Where nothing is found it is `test`.
    """
    parts = parts_to_test(cache, split, label)
    return parts.pop() if len(parts) == 1 else TEST


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
    return LabelledRows(cache, column, chosen, labels, label, part)


def unseen_classes(trained: LabelledRows, tested: LabelledRows) -> tuple[int, float]:
    """Count the classes of tested videos that no training video shows, and give the share of tested videos that are of
    them: nobody can recognise these."""
    unseen = np.setdiff1d(tested.labels, trained.labels)
    return len(unseen), float(np.isin(tested.labels, unseen).mean())


def unseen_entry(trained: LabelledRows, tested: LabelledRows) -> dict[str, float]:
    """Give the number by which a result says what `unseen_classes` found: a share of the tested videos."""
    return {UNSEEN: unseen_classes(trained, tested)[1]}


def classes_in(*parts: LabelledRows) -> tuple[np.ndarray, list[str]]:
    """List all classes of some parts of one cache: their labels (classes,) int64, ascending, and their names."""
    labels, first = np.unique(np.concatenate([part.labels for part in parts]), return_index=True)
    return labels, [str(name) for name in np.concatenate([part.names for part in parts])[first]]


def number_together(*parts: LabelledRows) -> list[LabelledRows]:
    """Number the classes of parts of several caches by name, since each cache numbers its own names."""
    known = np.unique(np.concatenate([part.names for part in parts]).astype(str))
    return [dataclasses.replace(part, labels=np.searchsorted(known, part.names.astype(str))) for part in parts]


def match_by_name(tested: LabelledRows, trained: LabelledRows) -> list[LabelledRows]:
    """Number the classes of two caches together, by name. Raises UserError where classes have no names, since one
    number may mean two classes, and where the two have no class in common."""
    for part in (tested, trained):
        names = part.cache.index["class_name"].to_numpy()[part.rows]
        if part.label == LABEL and (nameless := int((names == "").sum())):
            raise UserError(
                f"{nameless} {part.part} videos of {part.cache.storage} have a class number without name, and classes "
                "of two caches are matched by their names: give the manifest class_name, or name its column by --label"
            )
    if not set(tested.names) & set(trained.names):
        theirs, ours = (", ".join(sorted(set(map(str, part.names)))[:NAMED]) for part in (trained, tested))
        raise UserError(f"no class of the {tested.part} videos ({ours}, …) is in the gallery ({theirs}, …)")
    return number_together(tested, trained)


def part_entry(part: str) -> dict[str, str]:
    """Give what the description of a result says of the part of the split that is tested: nothing of `test`."""
    return {} if part == TEST else {"test_split": part}


def label_entry(label: str) -> dict[str, str]:
    """Give what the description of a result says of the column of labels: nothing of the usual one."""
    return {} if label == LABEL else {"label": label}
