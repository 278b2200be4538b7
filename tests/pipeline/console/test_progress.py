"""What a narrow terminal, a wide one and a log show of progress, and what consoles do to lines and tables."""

import io
import re

import pytest
from rich.table import Table

from s2vc.pipeline.console import terminal
from s2vc.pipeline.console.progress import clock, count, number, progress
from s2vc.pipeline.console.terminal import PlainConsole, make_console

NOTE = "loss 3.47, own key first: 5.1% (chance 3.3%)"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(width: int) -> list[str]:
    """Return what a terminal of this width has shown of a job of 600 steps, of which two were done."""
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, width=width, highlight=False, markup=False, soft_wrap=True)
    with progress("train", 600, "steps", console, counted="steps") as advance:
        advance(1, 1, NOTE)
        advance(1, 1, NOTE)
    return [line for line in re.split(r"[\r\n]+", CODES.sub("", screen.getvalue())) if line.strip()]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_count_and_time_left_are_the_last_to_go(width: int) -> None:
    lines = on_terminal(width)
    assert all(len(line) <= width for line in lines)
    assert "2/600 steps" in lines[-1]
    assert "left" in lines[-1]


def test_a_wide_terminal_shows_all_notes_and_a_narrow_one_the_first() -> None:
    assert "chance 3.3%" in on_terminal(160)[-1]
    assert "chance 3.3%" not in on_terminal(60)[-1]


def test_something_is_there_before_the_first_step() -> None:
    assert "0/600 steps · starting" in on_terminal(80)[0]


def test_a_line_of_a_log_is_one_line_with_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    line = "/data/[red]clips[/red]/" + "a folder/" * 60
    make_console().print(line)
    assert capsys.readouterr().out == line + "\n"


def test_a_cell_of_a_table_in_a_log_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("video", "reason")
    table.add_row("v/" * 60, "[why] " * 10)
    make_console().print(table)
    assert "v/" * 60 in (out := capsys.readouterr().out)
    assert "[why] " * 10 in out
    assert max(map(len, out.splitlines())) < terminal.LOG_WIDTH


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0181, "0.018"), (1.72, "1.7"), (9.96, "10"), (24.4, "24"), (124.0, "124"), (12345.0, "12345")],
)
def test_numbers_have_no_exponents(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes"), (12_345, "12345 classes")]
)
def test_count_takes_a_plural_that_is_not_regular(number: int, text: str) -> None:
    assert count(number, "class", "classes") == text


def test_counts_of_one_are_singular() -> None:
    assert [count(n, "video") for n in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42, "42 s"), (187, "3:07 min"), (19_200, "5:20 h"), (359_940, "99:59 h"), (550_468_800, "152,908 h")],
)
def test_durations_are_written_one_way(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("width", [80, terminal.LOG_WIDTH])
def test_titles_of_tables_are_whole_lines(width: int) -> None:
    log = io.StringIO()
    console = PlainConsole(file=log, width=width, highlight=False, markup=False, soft_wrap=True)
    title = "12.3% of pixels move by more than 1 a frame, of 128x171, as " + "many words say, " * 5 + "[none] of them"
    table = Table("a", "b", title=title, caption="A caption that is longer than a narrow table is.")
    table.add_row("1", "2")
    console.print(table)
    lines = [line.rstrip() for line in log.getvalue().splitlines()]
    assert lines[0] == title and lines[-1] == table.caption
    assert table.title == title
