"""What an evaluation leaves behind: its numbers as JSON, and a row of the table that all evaluations share."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from s2vc.eval.results_folder import TABLE, read_table
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.settings import SQUEEZE
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import LOCK

HASH_DIGITS = 8
"""The hash distinguishes results of one task, cache and checkpoint by their settings."""


def describe_result(task: str, cache: Cache, split: str, **how: Any) -> dict[str, Any]:
    """Describe what was evaluated, on what, and how, by the columns that make rows of the table comparable."""
    height, width = cache.settings.frame_size
    return {
        "task": task,
        "cache": str(cache.storage),
        "split": split,
        "stored": f"{height}x{width}" + ("" if cache.settings.fit == SQUEEZE else f" {cache.settings.fit}"),
        **{key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in how.items()},
    }


def save_result(
    folder: Path, description: dict[str, Any], numbers: dict[str, float], details: dict[str, Any] | None = None
) -> Path:
    """Write the result's JSON, and put its row into the table, in the place of one of the same description.

    details are in the JSON alone. Returns its path; a figure of the result has the same stem. Raises UserError for a
    damaged table.
    """
    name = result_name(description)
    path = folder / f"{name}.json"
    files.write_json(path, {"result": name, **description, **numbers, **(details or {})})
    row = pd.DataFrame([{"result": name, **description, **numbers}])
    # Evaluations may run side by side, and no row may be lost between reading and writing.
    with files.flocked(folder / LOCK):
        if (folder / TABLE).exists():
            before = read_table(folder)
            row = pd.concat([before[before["result"] != name], row], ignore_index=True)
        files.write_text(folder / TABLE, row.to_csv(index=False, lineterminator="\n"))
    return path


def result_name(description: dict[str, Any]) -> str:
    """Name a result by task, cache, checkpoint and split for people, and by a hash of the whole description."""
    cache, checkpoint = (Path(str(description.get(key, ""))).name for key in ("cache", "checkpoint"))
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:HASH_DIGITS]
    return "-".join(filter(None, [description["task"], cache, checkpoint, description["split"], digest]))
