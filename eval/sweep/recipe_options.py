"""Options of a recipe, as the commands that they are for take them."""

from collections.abc import Mapping
from typing import Any

import click

from s2vc.manifests.errors import UserError


def as_words(options: Mapping[str, Any], command: click.Command) -> list[str]:
    """Write options, by their names without hyphens in front, as words of a command line; true as the option alone.

    A list is written as the option takes it: as so many words, such as R G B; as the option repeated; else by commas.
    command: which has the options.
    """
    by_name = _options_of(command)
    words = []
    for name, value in options.items():
        if value is not False and value is not None:
            words += _words(f"--{name}", value, by_name.get(f"--{name}"))
    return words


def check_options(options: Mapping[str, Any], command: click.Command, where: str) -> None:
    """Raise UserError for the first option that a command does not have, or whose value it would not take, before hours
    of other work. where: of the recipe, for the message."""
    by_name = _options_of(command)
    for name, value in options.items():
        if f"--{name}" not in by_name:
            raise UserError(f"{where}: there is no option --{name}")
        if problem := _problem(value, by_name[f"--{name}"], command):
            raise UserError(f"{where}: --{name} cannot be {value}: {problem}")


def _options_of(command: click.Command) -> dict[str, click.Option]:
    return {name: option for option in command.params if isinstance(option, click.Option) for name in option.opts}


def _words(flag: str, value: Any, option: click.Option | None) -> list[str]:
    if value is True:
        return [flag]
    if option is None or not isinstance(value, list):
        return [flag, str(value)]
    if option.multiple:
        return [word for one in value for word in (flag, str(one))]
    return [flag, *map(str, value)] if option.nargs > 1 else [flag, ",".join(map(str, value))]


def _problem(value: Any, option: click.Option, command: click.Command) -> str:
    """Say why an option does not take a value; empty where it does."""
    if value is None or value is False:
        return ""
    if option.is_flag or value is True:
        return "" if option.is_flag and value is True else "true and false are for options without a value"
    values = list(map(str, value)) if isinstance(value, list) else [str(value)]
    if option.nargs > 1 and len(values) != option.nargs:
        return f"it is {option.nargs} values"
    given: Any = tuple(values) if option.multiple or option.nargs > 1 else ",".join(values)
    try:
        option.process_value(click.Context(command), given)
    except click.UsageError as error:
        return error.message
    return ""
