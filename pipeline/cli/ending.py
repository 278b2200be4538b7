"""How a job over shards ends on the screen, and with which exit code."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.cli import EXIT_FAILED_VIDEOS, EXIT_INTERRUPTED, EXIT_UNFINISHED
from pipeline.stages import Outcome

SHOWN = 20
"""Rows of a table of troubles; the rest is counted."""


@contextmanager
def interruptible(console: Console) -> Iterator[None]:
    """Ctrl-C ends the job with a sentence on how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. What is finished is kept: run the same command again to go on.")
        sys.exit(EXIT_INTERRUPTED)


@contextmanager
def stopping(console: Console) -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed, or SIGTERM came; a second Ctrl-C is obeyed at once."""
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        console.print("stopping after this step; once more to stop at once", highlight=False)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    except KeyboardInterrupt:
        console.print("Stopped. The last checkpoint is kept: run the same command again to go on.")
        sys.exit(EXIT_INTERRUPTED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell_unfinished(outcome: Outcome, console: Console) -> None:
    """Name the shards that are not done, and leave with exit code 1 if there are any."""
    if not outcome.unfinished:
        return
    for shard, reason in sorted(outcome.unfinished.items())[:SHOWN]:
        console.print(f"shard {shard} is not done: {escape(reason)}", highlight=False)
    if outcome.storage_error:
        console.print(f"Stopped early, since storage fails: {escape(outcome.storage_error)}", highlight=False)
    console.print(
        f"{len(outcome.unfinished)} shards are not done. What is finished is kept: run the same command again to go on."
    )
    sys.exit(EXIT_UNFINISHED)


def tell_failed(index: pd.DataFrame, console: Console) -> None:
    """A table of the videos that are not ok, and exit code 3 if any failed."""
    trouble = index[index["status"].isin(["partial", "failed"])]
    if trouble.empty:
        return
    # Failed ones first: they are why the exit code is not 0.
    trouble = trouble.sort_values("status", kind="stable")
    table = Table("video", "status", "frames", "reason", title="Videos with trouble", title_justify="left")
    for row in trouble.head(SHOWN).itertuples():
        table.add_row(escape(row.video_id), row.status, str(row.frames), escape(row.reason))
    console.print(table)
    if len(trouble) > SHOWN:
        console.print(f"… and {len(trouble) - SHOWN} more, in index.csv")
    if (index["status"] == "failed").any():
        sys.exit(EXIT_FAILED_VIDEOS)
