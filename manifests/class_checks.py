"""Warn of classes that make no sense, such as numbers of frames that were taken for labels."""

import pandas as pd

from s2vc.manifests.table import class_names, split_columns

SPARSE = 10
"""Labels that go to so many times the number of classes are hardly labels."""


def class_warnings(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each thing about a manifest's classes that would make its evaluation meaningless."""
    return [*_label_warning(table), *(line for split in split_columns(table) for line in _unseen_classes(table, split))]


def absurd_labels(labels: set[int]) -> bool:
    """Say whether numbers go so far beyond how many there are that they are hardly labels."""
    return bool(labels) and max(labels) >= SPARSE * len(labels)


def _label_warning(table: pd.DataFrame) -> list[str]:
    labels = {int(label) for label in table["label"] if label}
    if not absurd_labels(labels):
        return []
    return [
        f"warning: labels go up to {max(labels)}, but there are {len(labels)}: are they numbers of frames? "
        "(s2vc-prep manifest lists --columns says the order of a list)"
    ]


def _unseen_classes(table: pd.DataFrame, split: str) -> list[str]:
    names = class_names(table)
    seen, tested = (set(names[(table[split] == role) & (names != "")]) for role in ("train", "test"))
    unseen = sorted(tested - seen)
    if not seen or not unseen:
        return []
    if len(unseen) == len(tested):
        return [f"warning: no class of {split}'s test videos has a training video, so that nothing can be recognised"]
    few = ", ".join(unseen[:3])
    return [f"warning: {len(unseen)} of {len(tested)} classes of {split}'s test videos have no training video ({few})"]
