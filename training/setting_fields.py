"""Fields of settings: how one is declared, converted from YAML or from the command line, and checked by itself."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from s2vc.manifests.errors import UserError


def option(
    default: Any, help: str, choices: tuple[str, ...] = (), at_least: float | None = None, unset: Any = None
) -> Any:
    """Declare a field with its help, its choices if it is one of a few words, and the least that a number may be.

    unset: the value by which files and command lines of earlier versions said that it is not given.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "at_least": at_least, "unset": unset})


def value_kind(kind: Any) -> Any:
    """Return the type of a field's values where they are given: int for `int | None`."""
    kinds = [k for k in typing.get_args(kind) if k is not type(None)]
    return kinds[0] if isinstance(kind, types.UnionType) else kind


def without_unset(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the values by which files of any version say that a setting is not given.

    settings: the dataclass. Raises UserError for a name that is none of its fields.
    """
    fields = settings.__dataclass_fields__  # type: ignore[attr-defined]
    for name in values:
        if name not in fields:
            raise UserError(f"there is no setting {name!r}; there are {', '.join(fields)}")
    return {k: v for k, v in values.items() if v is not None and v != fields[k].metadata["unset"]}


def convert(name: str, value: Any, kind: Any) -> Any:
    """Convert a value from YAML or from the command line to the type of its field. Raises UserError where it cannot."""
    try:
        kind = value_kind(kind)
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
        for word in value if isinstance(value, tuple) else (value,):
            if choices and word not in (*choices, item.default):
                raise UserError(f"{item.name} is one of {', '.join(choices)}, not {word!r}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{item.name} cannot be {number}")
        if low is not None and value is not None and value < low:
            raise UserError(f"{item.name} is {low} or more, not {value}")
