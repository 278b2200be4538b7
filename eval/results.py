"""What an evaluation leaves behind: its numbers as JSON, and a row of the table that all evaluations share."""

from pathlib import Path
from typing import Any

import pandas as pd

from eval.features import View
from eval.subject import Subject
from pipeline import files
from pipeline.cache import Cache

TABLE = "results.csv"


def describe(task: str, cache: Cache, split: str, subject: Subject, checkpoint: str, view: View) -> dict[str, Any]:
    """What was evaluated, on what, and how: the columns that make rows comparable."""
    height, width = cache.settings.frame_size
    return {
        "task": task,
        "cache": str(cache.layout.root),
        "split": split,
        "checkpoint": checkpoint,
        "backbone": subject.name,
        "size": view.size,
        "frames": view.frames,
        "frame_step": view.frame_step,
        "stored": f"{height}x{width}",
        **{key: _cell(value) for key, value in subject.made.items()},
    }


def save_result(folder: Path, name: str, described: dict[str, Any], numbers: dict[str, float]) -> Path:
    """Write NAME.json, and put its row into the table, in the place of one of the same description."""
    path = folder / f"{name}.json"
    files.write_json(path, {**described, **numbers})
    row = pd.DataFrame([{**described, **numbers}])
    table = folder / TABLE
    if table.exists():
        before = pd.read_csv(table)
        columns = [c for c in described if c in before]
        same = (before[columns].astype(str) == row[columns].astype(str).iloc[0]).all(axis=1)
        row = pd.concat([before[~same], row], ignore_index=True)
    files.write_text(table, row.to_csv(index=False, lineterminator="\n"))
    return path


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value
