"""Make the consoles that commands print on."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

LOG_WIDTH = 400
"""A table in a log is at most this many columns wide; on a terminal, it is as wide as that."""


class PlainConsole(Console):
    """Prints a line as it is: brackets are no markup, and neither paths nor sentences are broken into lines.

    A terminal breaks long lines by itself, so that what is copied from it is whole; a log has long lines. Tables are
    fitted to the terminal.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        if any(isinstance(item, Table) for item in objects):
            options.setdefault("soft_wrap", False)
        super().print(*objects, **options)


def print_paths(console: Console, *paths: Path) -> None:
    """Print each path on a line of its own, from which it can be copied."""
    for path in paths:
        console.print(str(path))


def make_console(stderr: bool = False) -> Console:
    """Return the console that a command prints on; numbers and paths in its lines are not coloured."""
    console = PlainConsole(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH
    return console
