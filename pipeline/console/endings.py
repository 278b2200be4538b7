"""End a job over shards: print what is left or failed, and choose the exit code."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from s2vc.manifests.errors import printable
from s2vc.pipeline.cluster.scheduler import Outcome
from s2vc.pipeline.console.exit_codes import EXIT_FAILED_VIDEOS, EXIT_INTERRUPTED, EXIT_UNFINISHED, Exit
from s2vc.pipeline.console.terminal import print_result

SHOWN = 20
"""At most this many shards, videos or notes are listed; the rest is counted."""


@contextmanager
def stopping(console: Console) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C was pressed or SIGTERM came; a second signal stops the job at once."""
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        console.print("stopping after this step; once more to stop at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    except KeyboardInterrupt:
        print_result(console, "Stopped. The last checkpoint is kept: run the same command again to go on.")
        raise Exit(EXIT_INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Print the notes of a job's steps, such as that memory was short; all of them are in the cache's log.txt."""
    more = [f"… and {len(notes) - SHOWN} more such lines, in log.txt"] if len(notes) > SHOWN else []
    for line in [*notes[:SHOWN], *more]:
        console.print(line)


def print_unfinished(outcome: Outcome, console: Console) -> None:
    """Print the shards that are not done, and end with exit code 1 if there are any, or if storage has failed."""
    if not outcome.unfinished and not outcome.storage_error:
        return

    for shard, reason in sorted(outcome.unfinished.items())[:SHOWN]:
        print_result(console, f"shard {shard} is not done: {reason}")
    if outcome.storage_error:
        print_result(console, f"Stopped early, since storage fails: {outcome.storage_error}")
    left = len(outcome.unfinished)
    undone = f"{left} shard{' is' if left == 1 else 's are'} not done. " if left else ""
    print_result(console, f"{undone}What is finished is kept: run the same command again to go on.")
    raise Exit(EXIT_UNFINISHED)


def print_failed_videos(index: pd.DataFrame, console: Console) -> None:
    """Print a table of the videos that are not ok, and end with exit code 3 if any failed."""
    trouble = index[index["status"].isin(["partial", "failed"])]
    if trouble.empty:
        return
    # Failed videos come first, since they are why the exit code is not 0.
    trouble = trouble.sort_values("status", kind="stable")
    table = Table("video", "status", "frames", "reason", title="Videos with trouble", title_justify="left")
    for row in trouble.head(SHOWN).itertuples():
        table.add_row(printable(row.video_id), printable(row.status), str(row.frames), printable(row.reason))
    console.print(table)
    if len(trouble) > SHOWN:
        print_result(console, f"… and {len(trouble) - SHOWN} more, in index.csv")
    if (index["status"] == "failed").any():
        print_result(console, "Once their files are mended, the same command with --retry failed does them again.")
        raise Exit(EXIT_FAILED_VIDEOS)
