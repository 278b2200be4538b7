"""Fields of settings: how one is declared, and how it is read from YAML or from the command line."""

import typing
from dataclasses import field
from typing import Any

from manifests.errors import UserError


def option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    """A field with its help and, where it is one of a few words, those."""
    return field(default=default, metadata={"help": help, "choices": choices})


def converted(name: str, value: Any, kind: Any) -> Any:
    """A value from YAML or from the command line in the type of its field; raises UserError."""
    try:
        if typing.get_origin(kind) is tuple:
            kinds = typing.get_args(kind)
            values = list(value) if isinstance(value, list | tuple) else [value]
            if kinds[-1] is Ellipsis:
                kinds = (kinds[0],) * len(values)
            return tuple(converted(name, v, k) for v, k in zip(values, kinds, strict=True))
        if kind is bool or isinstance(value, bool):
            if not (kind is bool and isinstance(value, bool)):
                raise ValueError
            return value
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        return kind(value)  # text, too: YAML takes 1e-3 for text
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} cannot be {value!r}") from None
