"""What was measured at every step of a training, as CSV: a row is added as its step is done, others read along."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from s2vc.pipeline.storage import files


class StepRecord(Protocol):
    """A dataclass of numbers; step counts from 1 over the whole training."""

    @property
    def step(self) -> int: ...


Record = TypeVar("Record", bound=StepRecord)


class StepLog(Generic[Record]):
    """Writes the rows; those after step `done` are of a life before, and dropped."""

    def __init__(self, path: Path, kind: type[Record], done: int):
        kept = [row for row in StepReader(path, kind).new() if row.step <= done]
        rows = [",".join(_columns(kind)), *map(_row, kept)]
        files.write_text(path, "\n".join(rows) + "\n")
        self._file = path.open("a", encoding="utf-8")

    def add(self, record: Record) -> None:
        self._file.write(_row(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class StepReader(Generic[Record]):
    """Reads rows as another process writes them: `new` gives those since the last call, in order.

    A file that was replaced, as a training that goes on does, is read anew. A last line that is not whole waits.
    """

    def __init__(self, path: Path, kind: type[Record]):
        self._path, self._kind = path, kind
        hints = get_type_hints(kind)
        self._types = [hints[name] for name in _columns(kind)]
        self._inode, self._offset = 0, 0

    def new(self) -> list[Record]:
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    self._inode, self._offset = inode, len(file.readline())
                file.seek(self._offset)
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        whole = [line for line in lines if line.endswith(b"\n")]
        self._offset += sum(map(len, whole))
        return [self._record(line.decode()) for line in whole]

    def _record(self, line: str) -> Record:
        return self._kind(*(t(value) for t, value in zip(self._types, line.split(","), strict=True)))


def _columns(kind: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


def _row(record: Any) -> str:
    # repr keeps every bit, so that trainings can be compared by their files.
    return ",".join(repr(value) for value in dataclasses.astuple(record))
