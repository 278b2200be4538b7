"""Fields of settings: how one is declared, converted from YAML or from the command line, and checked by itself."""

import dataclasses
import math
import typing
from dataclasses import field
from typing import Any

from s2vc.manifests.errors import UserError


def option(default: Any, help: str, choices: tuple[str, ...] = (), at_least: float | None = None) -> Any:
    """Declare a field with its help, its choices if it is one of a few words, and the least that a number may be."""
    return field(default=default, metadata={"help": help, "choices": choices, "at_least": at_least})


def convert(name: str, value: Any, kind: Any) -> Any:
    """Convert a value from YAML or from the command line to the type of its field. Raises UserError where it cannot."""
    try:
        if typing.get_origin(kind) is tuple:
            kinds = typing.get_args(kind)
            values = list(value) if isinstance(value, list | tuple) else [value]
            if kinds[-1] is Ellipsis:
                kinds = (kinds[0],) * len(values)
            return tuple(convert(name, v, k) for v, k in zip(values, kinds, strict=True))
        if kind is bool or isinstance(value, bool):
            if not (kind is bool and isinstance(value, bool)):
                raise ValueError
            return value
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        return kind(value)  # This converts text, too: YAML takes 1e-3 for text.
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} cannot be {value!r}") from None


def check_fields(settings: Any) -> None:
    """Raise UserError for the first field of a dataclass whose value is none of its choices, too low, or not finite."""
    for item in dataclasses.fields(settings):
        value, choices, low = getattr(settings, item.name), item.metadata["choices"], item.metadata["at_least"]
        if choices and value not in choices:
            raise UserError(f"{item.name} is one of {', '.join(choices)}, not {value!r}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{item.name} cannot be {number}")
        if low is not None and value < low:
            raise UserError(f"{item.name} is {low} or more, not {value}")
