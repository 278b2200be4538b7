"""Show the progress of a job: a moving line on a terminal, and a line now and then in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from s2vc.pipeline.reporting import Advance

LOG_SECONDS = 10.0
"""In a log, the lines of progress are at least this many seconds apart."""

SHORTEST_BAR, LONGEST_BAR = 8, 40
"""On a terminal a bar has this many columns."""


@contextmanager
def progress(title: str, total: int, unit: str, console: Console, counted: str = "frames") -> Iterator[Advance]:
    """Show progress over `total` units (videos, shards, steps) with units/s, frames/s (or what is counted) and time
    left, while the block runs; yields the function that reports what is done."""
    if not getattr(console, "shows_notes", True):
        yield lambda units, frames, note="", at=None: None
        return
    show = _on_terminal if console.is_terminal else _in_log
    with show(title, total, console, _Counts(unit, counted)) as advance:
        yield advance


@contextmanager
def _on_terminal(title: str, total: int, console: Console, counts: "_Counts") -> Iterator[Advance]:
    with Progress(_Line(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, known=total, notes=["starting"], unit=counts.unit)

        def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
            counts.add(units, frames, at)
            if not counts.units:  # Nothing has ended, so that nothing is known of the time left.
                bar.update(task, completed=counts.at, notes=[note or "starting"])
                return
            notes = [f"{counts.time_left(total)} left", *counts.rates(note).split(", ")]
            bar.update(task, total=total, completed=counts.at, notes=notes)

        yield advance


class _Line(ProgressColumn):
    """Draws a task in one line: title, bar, count, then the notes that the terminal has room for, the first ones first.

    So a narrow terminal loses the notes at the end, and keeps count and time left. Until the first unit is done the bar
    pulses, so that something moves.
    """

    def render(self, task: Task) -> "_Fitted":
        bar = ProgressBar(
            total=task.total, completed=task.completed, pulse=task.total is None, animation_time=task.get_time()
        )
        count = f"{task.completed:.0f}/{task.fields['known']} {task.fields['unit']}"
        return _Fitted(task.description, bar, [count, *task.fields["notes"]])


class _Fitted:
    """Renders a title, a bar and notes within the width that there is; the bar takes what the notes leave."""

    def __init__(self, title: str, bar: ProgressBar, notes: list[str]):
        self._title, self._bar, self._notes = title, bar, notes

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(options.max_width, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - len(self._title) - SHORTEST_BAR - 2
        text = ""
        for note in self._notes:
            longer = f"{text} · {note}" if text else note
            if len(longer) > room and text:
                break
            text = longer
        self._bar.width = max(SHORTEST_BAR, min(LONGEST_BAR, options.max_width - len(self._title) - len(text) - 2))
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(self._title, self._bar, Text(text, overflow="crop", no_wrap=True))
        yield line


@contextmanager
def _in_log(title: str, total: int, console: Console, counts: "_Counts") -> Iterator[Advance]:
    last = time.monotonic()

    def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
        nonlocal last
        counts.add(units, frames, at)
        now = time.monotonic()
        if now - last >= LOG_SECONDS and counts.at < total:
            last = now
            left = f"{counts.time_left(total)} left, " if counts.units else ""
            console.print(f"{title}: {counts.at}/{total} {counts.unit}, {left}{counts.rates(note)}")

    yield advance


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

    def time_left(self, total: int) -> str:
        return clock(self.seconds / max(self.units, 1) * (total - self.at))

    def rates(self, note: str) -> str:
        speed = f"{number(self.units / self.seconds)} {self.unit}/s"
        if self.frames and self._counted != self.unit:
            speed += f", {number(self.frames / self.seconds)} {self._counted}/s"
        return f"{speed}, {note}" if note else speed


def number(value: float) -> str:
    """Return a number of two digits or more as people read it: 0.018, 1.7, 24, 1234."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 video, 2 videos. plural: of a noun that an s does not make one, as classes."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def clock(seconds: float) -> str:
    """Return a duration as people read it: 42 s, 3:07 min, 5:20 h, 152,908 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours}:{rest:02d} h" if hours < 100 else f"{minutes / 60:,.0f} h"


def size(count: float) -> str:
    """Return a number of bytes as people read it: 24.6 kB, 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
