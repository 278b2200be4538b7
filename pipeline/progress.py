"""What a person sees while a job runs: a line that moves on a terminal, a line now and then in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_SECONDS = 10.0
"""Between two lines of a log."""


class Advance(Protocol):
    """Called when work is done: so many units more, so many frames more."""

    def __call__(self, units: int, frames: int) -> None: ...


@contextmanager
def progress(title: str, total: int, unit: str, console: Console) -> Iterator[Advance]:
    """Progress over `total` units (videos, shards) with units/s, frames/s and time left."""
    show = _on_terminal if console.is_terminal else _in_log
    with show(title, total, unit, console) as advance:
        yield advance


@contextmanager
def _on_terminal(title: str, total: int, unit: str, console: Console) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " · {task.fields[rates]} ·"),
        TimeRemainingColumn(),
    )
    started, counted = time.monotonic(), _Counts()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, rates="starting")

        def advance(units: int, frames: int) -> None:
            counted.add(units, frames)
            bar.update(task, advance=units, rates=counted.rates(unit, time.monotonic() - started))

        yield advance


@contextmanager
def _in_log(title: str, total: int, unit: str, console: Console) -> Iterator[Advance]:
    started, counted = time.monotonic(), _Counts()
    last = started

    def advance(units: int, frames: int) -> None:
        nonlocal last
        counted.add(units, frames)
        now = time.monotonic()
        if now - last >= LOG_SECONDS and counted.units < total:
            last = now
            left = (now - started) / max(counted.units, 1) * (total - counted.units)
            rates = counted.rates(unit, now - started)
            console.print(f"{title}: {counted.units}/{total} {unit}, {rates}, {clock(left)} left", highlight=False)

    yield advance


class _Counts:
    def __init__(self) -> None:
        self.units = 0
        self.frames = 0

    def add(self, units: int, frames: int) -> None:
        self.units += units
        self.frames += frames

    def rates(self, unit: str, seconds: float) -> str:
        return f"{self.units / seconds:.2g} {unit}/s, {self.frames / seconds:.0f} frames/s"


def clock(seconds: float) -> str:
    """A duration for people: 42 s, 3:07 min, 5:20 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def size(count: float) -> str:
    """A number of bytes for people: 24.6 kB, 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
