"""Show the progress of a job: a moving line on a terminal, and a line now and then in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from s2vc.pipeline.reporting import Advance

LOG_SECONDS = 10.0
"""In a log, the lines of progress are at least this many seconds apart."""


@contextmanager
def progress(title: str, total: int, unit: str, console: Console, counted: str = "frames") -> Iterator[Advance]:
    """Show progress over `total` units (videos, shards, steps) with units/s, frames/s (or what is counted) and time
    left, while the block runs; yields the function that reports what is done."""
    show = _on_terminal if console.is_terminal else _in_log
    with show(title, total, console, _Counts(unit, counted)) as advance:
        yield advance


@contextmanager
def _on_terminal(title: str, total: int, console: Console, counts: "_Counts") -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(counts.unit + " · {task.fields[rates]} ·"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, rates="starting")

        def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
            counts.add(units, frames, at)
            bar.update(task, completed=counts.at, rates=counts.rates(note))

        yield advance


@contextmanager
def _in_log(title: str, total: int, console: Console, counts: "_Counts") -> Iterator[Advance]:
    last = time.monotonic()

    def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
        nonlocal last
        counts.add(units, frames, at)
        now = time.monotonic()
        if now - last >= LOG_SECONDS and counts.at < total:
            last = now
            left = clock(counts.seconds / max(counts.units, 1) * (total - counts.at))
            console.print(f"{title}: {counts.at}/{total} {counts.unit}, {counts.rates(note)}, {left} left")

    yield advance


def make_console(stderr: bool = False) -> Console:
    """Return the console that a command prints on; numbers and paths in its lines are not coloured."""
    return Console(stderr=stderr, highlight=False)


class _Counts:
    """Counts the units and frames that this job has done, and the units that are done in all (`at`)."""

    def __init__(self, unit: str, counted: str) -> None:
        self.unit, self._counted = unit, counted
        self.units = self.frames = self.at = 0
        self._started = time.monotonic()

    def add(self, units: int, frames: int, at: int | None) -> None:
        self.units += units
        self.frames += frames
        self.at = self.at + units if at is None else at

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def rates(self, note: str) -> str:
        speed = f"{self.units / self.seconds:.2g} {self.unit}/s"
        if self._counted != self.unit:
            speed += f", {self.frames / self.seconds:.3g} {self._counted}/s"
        return f"{speed}, {note}" if note else speed


def clock(seconds: float) -> str:
    """Return a duration as people read it: 42 s, 3:07 min, 5:20 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def size(count: float) -> str:
    """Return a number of bytes as people read it: 24.6 kB, 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
