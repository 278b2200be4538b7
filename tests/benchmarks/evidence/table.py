"""Read and write the rows of the study, a CSV that is committed as it grows, so that any machine can continue it."""

import csv
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from s2vc.pipeline.storage import files

ROWS = Path(__file__).parents[3] / "docs" / "evidence" / "rows.csv"


@dataclass(frozen=True)
class Row:
    """Holds a figure of one run.

    shift: RHO of the set. steps: of training. part: the test part. label: what is retrieved, motion or scene.
    outcomes: a digit for each test video, in the order of their ids, 1 if its nearest training video has its class,
    else 0. value: their mean.
    """

    arm: str
    shift: float
    seed: int
    steps: int
    part: str
    label: str
    value: float
    outcomes: str
    train_seconds: float
    machine: str

    @property
    def hits(self) -> np.ndarray:
        return np.array([int(c) for c in self.outcomes])


def read_rows(path: Path = ROWS) -> list[Row]:
    """Return all rows, and none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        kinds = {f.name: f.type for f in fields(Row)}
        return [Row(**{k: kinds[k](v) for k, v in line.items()}) for line in csv.DictReader(file)]  # type: ignore[operator]


def add_rows(rows: list[Row], path: Path = ROWS) -> None:
    """Add rows to the end of the file, which is written anew, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.attempt(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows(asdict(row) for row in [*read_rows(path), *rows])
