"""What the readers of lists in JSON share."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s2vc.manifests.errors import UserError, text_problem
from s2vc.manifests.text import parse_whole_number, read_text


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError, with the line, for what is none."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    except (RecursionError, ValueError):  # Too deep, or a number of too many digits.
        raise UserError(f"{path}: not JSON of a list") from None


def json_entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield pairs (where, object) of a JSON file that holds a list of objects; where is `FILE, entry N`, from 1.

    Raises UserError for anything else.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path}: holds no list, but a {type(entries).__name__}")
    for number, entry in enumerate(entries, 1):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict):
            raise UserError(f"{where}: no object")
        yield where, entry


def class_numbers(content: Any, path: Path) -> dict[str, int]:
    """Check an object of class names with their numbers, as texts or as integers: 0 to N-1, each once.

    path: of the file, for messages. Raises UserError.
    """
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds no object of class names and their numbers")
    numbers = {name: parse_whole_number(str(value)) for name, value in content.items()}
    for name, number in numbers.items():
        if problem := "" if number is not None else f"has the number {content[name]!r}":
            raise UserError(f"{path}: the class {name!r} {problem}, which is no whole number")
        if problem := text_problem(name):
            raise UserError(f"{path}: the class {name!r} {problem}")
    found = {name: number for name, number in numbers.items() if number is not None}
    if sorted(found.values()) != list(range(len(found))):
        raise UserError(f"{path}: the numbers of its {len(found)} classes are not 0 to {len(found) - 1}, each once")
    return found
