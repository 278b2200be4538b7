"""Read and write the rows of the study, a CSV that is committed as it grows, so that any machine can continue it."""

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2vc.pipeline.storage import files

QUESTIONS = {"retrieval": 1, "retrieval --order still": 1, "linear": 1, "order": 2}
"""A task asks so many questions of a test video: order asks for the natural and for the shuffled one."""

ROWS = Path(__file__).parents[3] / "docs" / "evidence" / "rows.csv"


class Measure(NamedTuple):
    """Says what is asked of features: by which task, of which test part, and for which label."""

    task: str
    part: str
    label: str


@dataclass(frozen=True)
class Row:
    """Holds a figure of one run.

    shift: RHO of the set. steps: of training. task: one of QUESTIONS. part: the test part. label: what the
    features are asked for, motion, scene or order. outcomes: a digit for each test video, in the order of their ids:
    how many of its questions were answered right. value: the share of right answers.
    """

    arm: str
    shift: float
    seed: int
    steps: int
    task: str
    part: str
    label: str
    value: float
    outcomes: str
    train_seconds: float
    machine: str

    @property
    def measure(self) -> "Measure":
        return Measure(self.task, self.part, self.label)

    @property
    def hits(self) -> np.ndarray:
        """Return the share of right answers for each test video, (videos,) float64."""
        return np.array([int(c) for c in self.outcomes]) / QUESTIONS[self.task]


def read_rows(path: Path = ROWS) -> list[Row]:
    """Return all rows, and none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        kinds = {f.name: f.type for f in fields(Row)}
        return [Row(**{k: kinds[k](v) for k, v in line.items()}) for line in csv.DictReader(file)]  # type: ignore[operator]


def missing_measures(wanted: Iterable[Measure], arm: str, shift: float, seed: int, path: Path = ROWS) -> list[Measure]:
    """Return those of the wanted measures that a run has no rows of yet."""
    known = {row.measure for row in read_rows(path) if (row.arm, row.shift, row.seed) == (arm, shift, seed)}
    return [measure for measure in wanted if measure not in known]


def add_rows(rows: list[Row], path: Path = ROWS) -> None:
    """Add rows to the end of the file, which is written anew, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.attempt(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows(asdict(row) for row in [*read_rows(path), *rows])
