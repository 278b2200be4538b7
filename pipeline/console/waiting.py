"""Show on a terminal that a command is at work before it has anything to say: its libraries take seconds to import."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

PATIENCE = 0.3
"""A command that prints sooner, in seconds, needs no such line."""
TURN = 0.2

_lines: list["_MovingLine"] = []
"""The line of the command that runs; a command that it calls has none of its own."""


class _MovingLine(threading.Thread):
    """Moves a line on standard error until it is ended, and then clears it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()

    def run(self) -> None:
        if self._ended.wait(PATIENCE):
            return
        for dots in cycle(("   ", ".  ", ".. ", "...")):
            print(f"\rstarting {dots}", end="", file=sys.stderr, flush=True)
            if self._ended.wait(TURN):
                break
        print(f"\r{' ' * len('starting ...')}\r", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def waiting() -> Iterator[None]:
    """Show a moving line until the command prints something, or the block ends; nothing in a log."""
    if sys.stderr is None or not sys.stderr.isatty() or _lines:  # It is None where descriptor 2 was closed.
        yield
        return
    _lines.append(_MovingLine())
    _lines[0].start()
    try:
        yield
    finally:
        end_waiting()
        _lines.clear()


def end_waiting() -> None:
    """Clear the moving line, if there is one, before something is printed."""
    for line in _lines:
        line.end()
