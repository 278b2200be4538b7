"""The one table: which videos there are, with their classes and splits, as CSV or Parquet.

Columns, all of them text: `video_id` (path relative to the root, POSIX, with its extension; unique), `path` (where the
file is, relative to the root), `label` (class number from 0, or empty), `class_name` (or empty), split columns
(`split`, `split1`, `split2`, ..., then those with names, `split_NAME`: train, test, val or empty), then whatever else
the user keeps there.
"""

import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from s2vc.manifests.errors import UserError, text_problem
from s2vc.manifests.text import parse_whole_number, read_csv

FIRST_COLUMNS = ("video_id", "path", "label", "class_name")
SPLIT_COLUMN = re.compile(r"split([0-9]{0,3}|_[a-z0-9_]+)")
SPLIT_VALUES = ("train", "test", "val")


def build_table(columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Build a table from columns of text: what is missing is filled in, and the columns get their usual order.

    video_id and path stand in for one another. Without label, classes are numbered by their sorted names. Raises
    UserError where both video_id and path are missing.
    """
    filled = dict(columns)
    ids = filled.get("video_id", filled.get("path"))
    if ids is None:
        raise UserError(f"needs a column video_id or path, has {', '.join(columns) or 'none'}")
    names = filled.setdefault("class_name", [""] * len(ids))
    filled.setdefault("video_id", ids)
    filled.setdefault("path", ids)
    filled.setdefault("label", number_classes(names))
    return pd.DataFrame({name: filled[name] for name in _column_order(filled)}, dtype="str")


def number_classes(class_names: Sequence[str]) -> list[str]:
    """Label each row by the place of its class among the sorted class names; empty where it has none."""
    labels = {name: str(place) for place, name in enumerate(sorted(set(class_names) - {""}))}
    return [labels.get(name, "") for name in class_names]


def class_names(table: pd.DataFrame) -> pd.Series:
    """Name the class of each row: a class without a name has its number for one; where there is no class the name is
    "".
    table: a manifest, or an index of a cache, with columns label and class_name."""
    return table["class_name"].where(table["class_name"] != "", table["label"].astype("string").fillna(""))


def split_columns(table: pd.DataFrame) -> list[str]:
    """List the split columns: numbered ones by their numbers, then others in the table's order."""
    return _split_names(table.columns)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest, CSV or Parquet by its ending, and check it; every column comes back as text.

    Raises UserError, which names the file and the line or row, for whatever is not a manifest.
    """
    columns = _parquet_columns(path) if _is_parquet(path) else _csv_columns(path)
    try:
        table = build_table(columns)
        check_manifest(table)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return table


def write_manifest(table: pd.DataFrame, path: Path) -> None:
    """Check a table and write it as CSV or Parquet, by the path's ending, whole or not at all. Raises UserError."""
    check_manifest(table)
    if _is_parquet(path):
        write_atomically(path, table.to_parquet(None, engine="pyarrow", index=False))
    else:
        write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())


def record_root(manifest: Path, root: Path) -> None:
    """Write the folder that a manifest's paths start from beside it, as MANIFEST.root, one line of text.

    A folder below the manifest's own is written relative to it, so that both can be moved. Raises UserError.
    """
    root, beside = root.absolute(), manifest.absolute().parent
    text = root.relative_to(beside) if root.is_relative_to(beside) else root
    write_atomically(_root_file(manifest), os.fsencode(text) + b"\n")  # A folder's name may be no UTF-8.


def root_of(manifest: Path) -> Path:
    """Return the folder that a manifest's paths start from: the one that `record_root` wrote, or the manifest's own
    where there is no record, or no such folder any more."""
    try:
        root = manifest.parent / os.fsdecode(_root_file(manifest).read_bytes().removesuffix(b"\n"))
        return root if root.is_dir() else manifest.parent
    except (OSError, ValueError):
        return manifest.parent


def _root_file(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.name}.root")


def check_manifest(table: pd.DataFrame) -> None:
    """Raise UserError for what no manifest may hold, naming the row (from 1, a header does not count).

    A path that leaves the root passes: its row fails later, alone, with that reason.
    """
    if lacking := [name for name in FIRST_COLUMNS if name not in table.columns]:
        raise UserError(f"no column {lacking[0]}")
    if len(table) == 0:
        raise UserError("the manifest has no rows")
    for name in table.columns:
        if problem := text_problem(name):
            raise UserError(f"the column name {name!r} {problem}")
        _check_column(table, name, text_problem)
    for name in ("video_id", "path"):
        _check_column(table, name, lambda text: "" if text.strip() else "is empty")
    _check_column(table, "label", _label_problem)
    for name in split_columns(table):
        _check_column(table, name, _split_problem)
    _check_unique(table["video_id"])


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, and its folder if needed. Raises UserError."""
    attempt = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(attempt, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(attempt, path)
        finally:
            attempt.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"{path}: the name of a manifest ends in .csv or .parquet")
    return path.suffix.lower() == ".parquet"


def _csv_columns(path: Path) -> dict[str, list[str]]:
    rows = read_csv(path)
    header = [name.strip() for name in next(rows)[1]]
    if twice := [name for name in header if header.count(name) > 1]:
        raise UserError(f"{path}: two columns named {twice[0]!r}")
    columns: list[list[str]] = [[] for _ in header]
    for _, cells in rows:  # They go into columns at once: a million small lists slow the collector down.
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    return dict(zip(header, columns, strict=True))


def _parquet_columns(path: Path) -> dict[str, list[str]]:
    try:
        with pq.ParquetFile(path) as file:  # The function read_table would take a folder of files, too.
            stored = file.read()
        stored.validate(full=True)  # A string column may hold anything until it is validated.
        texts = {name: stored[name].cast(pa.string()).fill_null("") for name in stored.column_names}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a Parquet table of text and numbers ({error})") from None
    return {name: text.to_pylist() for name, text in texts.items() if not name.startswith("__index_level_")}


def _split_names(names: Sequence[str]) -> list[str]:
    splits = [name for name in names if SPLIT_COLUMN.fullmatch(name)]
    numbered = [name for name in splits if not name.startswith("split_")]
    numbered.sort(key=lambda name: int(name.removeprefix("split") or 0))
    return [*numbered, *(name for name in splits if name not in numbered)]


def _column_order(names: Mapping[str, object]) -> list[str]:
    known = [*FIRST_COLUMNS, *_split_names(list(names))]
    return [*known, *(name for name in names if name not in known)]


def _check_column(table: pd.DataFrame, column: str, problem: Callable[[str], str]) -> None:
    values = table[column].tolist()
    wrong = {value for value in set(values) if problem(value)}  # Most columns have few distinct values.
    if wrong:
        row, value = next((row, value) for row, value in enumerate(values, 1) if value in wrong)
        raise UserError(f"row {row}: {column} {value!r} {problem(value)}")


def _label_problem(text: str) -> str:
    return "" if not text or parse_whole_number(text) is not None else "is not a class number from 0, nor empty"


def _split_problem(text: str) -> str:
    return "" if text in ("", *SPLIT_VALUES) else f"is none of {', '.join(SPLIT_VALUES)}, nor empty"


def _check_unique(ids: pd.Series) -> None:
    again = ids.duplicated().to_numpy()
    if again.any():
        row = int(again.argmax())
        first = ids.tolist().index(ids.iloc[row])
        raise UserError(f"rows {first + 1} and {row + 1} have the same video_id {ids.iloc[row]!r}")
