"""What an evaluation leaves behind: its numbers as JSON, and a row of the table that all evaluations share."""

import hashlib
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.settings import SQUEEZE
from s2vc.pipeline.console.commands import STORAGE_FAILS
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import LOCK

TABLE = "results.csv"
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


def check_results_folder(folder: Path) -> None:
    """Raise UserError where results cannot be written into a folder, or its table is damaged: a command finds that out
    before it computes for hours. A folder that is not there yet is not left behind."""
    check_writable(folder)
    if (folder / TABLE).exists():
        read_table(folder)


def check_writable(folder: Path) -> None:
    """Raise UserError where no file can be written into a folder, which need not be there yet, and is not left behind
    then."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in STORAGE_FAILS:
            raise
        raise UserError(f"{folder} cannot be written into: {files.describe_os_error(error)}") from None
    finally:
        with suppress(OSError):  # Another command may have begun to write there.
            for path in absent:
                path.rmdir()


def read_table(folder: Path) -> pd.DataFrame:
    """Read the rows of all results in a folder, in the order they were made; columns of other tasks are empty.

    Raises UserError for a file that is no such table.
    """
    try:
        table = pd.read_csv(folder / TABLE)
    except (OSError, ValueError) as error:  # Pandas' own errors are ValueErrors.
        raise UserError(f"{folder / TABLE} is damaged: {error}") from None
    if "result" not in table:
        raise UserError(f"{folder / TABLE} is damaged: it has no column 'result'")
    return table


def result_name(description: dict[str, Any]) -> str:
    """Name a result by task, cache, checkpoint and split for people, and by a hash of the whole description."""
    cache, checkpoint = (Path(str(description.get(key, ""))).name for key in ("cache", "checkpoint"))
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:HASH_DIGITS]
    return "-".join(filter(None, [description["task"], cache, checkpoint, description["split"], digest]))
