"""List files and CSV files as text. They come from the net: what does not read is refused with its line."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from s2vc.manifests.errors import UserError, text_problem

_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")


def read_text(path: Path) -> str:
    """Read a UTF-8 file (a leading byte order mark is dropped), line ends as they are. Raises UserError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8") from None


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield pairs (where, line) of a list file without its blank lines; where is `FILE, line N`, for messages.

    Ends of line may be CRLF; tabs count as spaces, which are dropped at the end of a line. Raises UserError for what is
    not text.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        where, line = f"{path}, line {number}", line.removesuffix("\r").replace("\t", " ").rstrip(" ")
        if problem := text_problem(line):
            raise UserError(f"{where}: {line!r} {problem}")
        if line:
            yield where, line


def read_csv(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield pairs (where, cells) of a CSV file, the header first; cells as they are written, no blank lines.

    Raises UserError for a file without a header, broken quoting, and rows longer or shorter than the header.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns = 0
    try:
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            columns = columns or len(cells)
            if len(cells) not in (0, columns):
                raise UserError(f"{where}: {len(cells)} fields, where the header has {columns}")
            if cells:
                yield where, cells
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None
    if not columns:
        raise UserError(f"{path} is empty")


def parse_whole_number(text: str) -> int | None:
    """Parse 1 to 9 ASCII digits; None for any other text."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None
