"""A step log is a CSV file of what a training measured at every step; other processes may read it as it grows."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from s2vc.pipeline.storage import files


class StepRecord(Protocol):
    """A step record is a dataclass of numbers; step counts from 1 over the whole training."""

    @property
    def step(self) -> int: ...


Record = TypeVar("Record", bound=StepRecord)


class StepLog(Generic[Record]):
    """This writes the rows of a log. Rows after step `done`, which an earlier run has left, are dropped."""

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
    """This reads rows while another process writes them: `new` returns those since the last call, in order.

    A file that was replaced, as a resumed training does, is read from its start. An incomplete last line is left for
    the next call.
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
