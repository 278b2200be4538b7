"""How much a command says: -q, -v and --json, which every command line takes from here."""

import functools
import time
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from s2vc.pipeline.console.waiting import waiting

QUIET, NORMAL, VERBOSE = -1, 0, 1

_VERBOSITY, _JSON = "s2vc.verbosity", "s2vc.json"
"""Under these keys the context of a command line keeps what was asked for."""


def verbosity() -> int:
    """Return QUIET, NORMAL or VERBOSE, as the command that runs was asked; NORMAL outside of commands."""
    return int(_asked(_VERBOSITY, NORMAL))


def wants_json() -> bool:
    """Say whether the command that runs was asked for one JSON document on standard output."""
    return bool(_asked(_JSON, False))


def verbosity_flags() -> list[str]:
    """Return the flags by which another command says as much as the one that runs."""
    return {QUIET: ["--quiet"], NORMAL: [], VERBOSE: ["--verbose"]}[verbosity()]


def _asked(key: str, default: Any) -> Any:
    context = click.get_current_context(silent=True)
    return default if context is None else context.meta.get(key, default)


def _keep_verbosity(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value:
        return
    asked = QUIET if param.name == "quiet" else VERBOSE
    if ctx.meta.setdefault(_VERBOSITY, asked) != asked:
        raise click.UsageError("--quiet and --verbose exclude each other", ctx)


def _keep_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[_JSON] = value


def _flag(*names: str, keep: Callable[[click.Context, click.Parameter, bool], None], help: str) -> click.Option:
    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, callback=keep, help=help)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command that ends in a table with --json: `print_json` then gives its document (console.terminal)."""
    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_keep_json,
        help="One JSON document on standard output; all else on standard error.",
    )(command)


def with_verbosity(command: click.Command) -> click.Command:
    """Give a command, or all commands of a group, -q and -v; with -v it says what is chosen, and how long it took."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            with_verbosity(one)
    elif all(param.name != "quiet" for param in command.params):
        command.params += [
            _flag("-q", "--quiet", keep=_keep_verbosity, help="Errors and the result only."),
            _flag("-v", "--verbose", keep=_keep_verbosity, help="Say what is chosen, times, and what caused an error."),
        ]
        if command.callback is not None:
            command.callback = _talkative(command.callback)
    return command


def _talkative(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def call(*arguments: Any, **options: Any) -> Any:
        if verbosity() == QUIET:
            return callback(*arguments, **options)
        talks, started = verbosity() == VERBOSE, time.monotonic()
        if talks:
            click.echo("\n".join(_chosen(click.get_current_context())), err=True)
        try:
            with waiting():
                return callback(*arguments, **options)
        finally:
            if talks:
                click.echo(f"took {time.monotonic() - started:.1f} s", err=True)

    return call


def _chosen(ctx: click.Context) -> list[str]:
    """Describe each argument and option that has a value, and whether it was given."""
    lines = []
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if value is None or value == ():
            continue
        given = ctx.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT
        name = param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name
        lines.append(f"{name} {value}{'' if given else ' (default)'}")
    return lines
