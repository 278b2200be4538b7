"""Make the consoles that commands print on."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console, ConsoleRenderable, RenderHook
from rich.table import Table
from rich.text import Text

from s2vc.pipeline.console.verbosity import QUIET, VERBOSE, verbosity, wants_json
from s2vc.pipeline.console.waiting import end_waiting

LOG_WIDTH = 400
"""A table in a log is at most this many columns wide; on a terminal, it is as wide as that."""


class PlainConsole(Console):
    """Prints a line as it is: brackets are no markup, and neither paths nor sentences are broken into lines.

    A terminal breaks long lines by itself, so that what is copied from it is whole; a log has long lines. Tables are
    fitted to the terminal; their titles and captions are lines of their own, which are not broken to the table's width.

    What is printed are notes, but for tables and what `print_result` prints. shows_notes: False leaves them out.
    """

    shows_notes = True

    def print(self, *objects: Any, **options: Any) -> None:
        if any(isinstance(item, Table) for item in objects):
            options.setdefault("soft_wrap", False)
            if not self.shows_notes and wants_json():  # The document has it.
                return
        elif not self.shows_notes:
            return
        if len(objects) == 1 and isinstance(objects[0], Table):
            self._print_titled(objects[0], options)
        else:
            super().print(*objects, **options)

    def _print_titled(self, table: Table, options: dict[str, Any]) -> None:
        title, caption = table.title, table.caption
        table.title = table.caption = None
        try:
            if title:
                super().print(Text(str(title), style=table.title_style or "table.title"), soft_wrap=True)
            super().print(table, **options)
            if caption:
                super().print(Text(str(caption), style=table.caption_style or "table.caption"), soft_wrap=True)
        finally:
            table.title, table.caption = title, caption


class EndsWaiting(RenderHook):
    """Ends the moving line of a command before its console shows anything: lines, tables and progress."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        end_waiting()
        return renderables


def print_result(console: Console, *lines: str) -> None:
    """Print lines that are what a command is called for, or that say what is wrong: --quiet leaves them."""
    for line in lines:
        Console.print(console, line)


def print_detail(console: Console, *lines: str) -> None:
    """Print lines that are for --verbose alone."""
    if verbosity() == VERBOSE:
        print_result(console, *lines)


def print_json(document: Any) -> None:
    """Print the one document of a command on standard output, if --json asks for it.

    document: of dicts, lists, text, None and finite numbers.
    """
    if wants_json():
        end_waiting()
        click.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def print_paths(console: Console, *paths: Path) -> None:
    """Print each path on a line of its own, from which it can be copied."""
    print_result(console, *map(str, paths))


def print_next(console: Console, *words: object) -> None:
    """Print the command that a user is most likely to run next, from which it can be copied. It is a note."""
    console.print(f"Next: {shlex.join(map(str, words))}")


def make_console(stderr: bool = False, notes_are_the_result: bool = False) -> Console:
    """Return the console that a command prints on; numbers and paths in its lines are not coloured.

    With --json it is standard error. With --quiet it shows no notes, unless they are the result, as of a dry run.
    """
    console = PlainConsole(stderr=stderr or wants_json(), highlight=False, markup=False, soft_wrap=True)
    console.push_render_hook(EndsWaiting())
    console.shows_notes = notes_are_the_result or verbosity() != QUIET
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH
    return console
