"""The user's mistakes, and how hostile text is recognised and shown."""

import re
from collections.abc import Mapping
from typing import Any

# These are control characters (C0, DEL, C1), and the surrogates by which Python spells bytes that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UNPRINTABLE = re.compile(rf"{_CONTROL.pattern}|{_SURROGATE.pattern}")


class UserError(Exception):
    """Represents a mistake of the user, in one line: str(error) never holds a line break or a terminal sequence."""

    def __str__(self) -> str:
        return printable(super().__str__())


class Stopped(UserError):
    """Says that a run cannot go on: the disk is full, the loss is NaN, processes die. Its last checkpoint is whole."""

    exit_code = 1


def refuse_other_settings(holder: object, what: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise UserError where what is to be resumed, a run or the like in `holder`, was begun with other settings."""
    for name in {**before, **wanted}:
        old, new = before.get(name), wanted.get(name)
        if old != new:
            raise UserError(
                f"{holder} holds a {what} with other settings: {name} is {old!r} there, {new!r} here; "
                "choose another folder, or the same settings to go on"
            )


def text_problem(text: str) -> str:
    """Say what keeps a text out of a manifest, as the end of a sentence about it; empty where nothing does."""
    if text.isprintable():  # This is true of nearly all names, and far quicker than the searches.
        return ""
    if _SURROGATE.search(text):
        return "is not UTF-8"
    return "has control characters" if _CONTROL.search(text) else ""


def printable(text: str) -> str:
    r"""Spell out control characters and bytes that are not UTF-8 in a text (`\n`, `\xe9`)."""
    if not text_problem(text):
        return text
    return _UNPRINTABLE.sub(lambda odd: _escaped(odd[0]), text)


def _escaped(odd: str) -> str:
    if "\udc80" <= odd <= "\udcff":  # By PEP 383 a byte 0xNN of a name that does not decode is U+DCNN.
        return rf"\x{ord(odd) - 0xDC00:02x}"
    return ascii(odd)[1:-1]
