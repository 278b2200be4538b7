"""Build command lines of several commands, which are imported when used and print a user's mistakes in one line."""

import errno
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, EXIT_STORAGE_FAILS, EXIT_USER_ERROR, Exit
from s2vc.pipeline.console.extras import extras_named
from s2vc.pipeline.console.other_words import in_our_words, with_near_options
from s2vc.pipeline.console.verbosity import VERBOSE, verbosity, with_verbosity
from s2vc.pipeline.storage.failures import STORAGE_FAILS, speaks_of_failing_storage

# OpenMP reads this variable when torch is imported. Threads that spin while they wait for each other lose whole time
# slices as soon as another process uses one of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM)
"""An OSError with one of these numbers means that a place may not be read or written: the user's mistake."""


class Commands(click.Group):
    """Finds the commands of a group in a table, which maps each name to what the command does.

    Command NAME is the function `NAME_command` in module PACKAGE.NAME, with underscores for hyphens. A command's
    module, and with it torch and Ray, is imported when the command is used. A mistake of the user ends the program with
    one line and exit code 2, or the exit code that the error has. default: the command to run if none is named.
    """

    def __init__(self, *args: Any, table: dict[str, str], package: str, default: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._table, self._package, self._default = table, package, default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self._default and args and args[0] not in (*self._table, "-h", "--help", "--version"):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing and args[0] not in self._table:
            near = get_close_matches(args[0], self._table, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        name, command, rest = super().resolve_command(ctx, args)
        if command is None or ctx.resilient_parsing:
            return name, command, rest
        own = click.Context(command, parent=ctx, info_name=name)  # The usage that is shown is the command's.
        return name, command, in_our_words(command, rest, own)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self._table:
            return None
        module = name.replace("-", "_")
        return with_verbosity(getattr(import_module(f"{self._package}.{module}"), f"{module}_command"))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands by the table, without importing them, and what the default command takes first."""
        found = [CompletionItem(name, help=text) for name, text in self._table.items() if name.startswith(incomplete)]
        if self._default and (command := self.get_command(ctx, self._default)):
            first = next((param for param in command.params if isinstance(param, click.Argument)), None)
            if incomplete.startswith("-"):
                found += command.shell_complete(ctx, incomplete)
            elif first is not None:
                found += first.shell_complete(ctx, incomplete)
        else:
            found += click.Command.shell_complete(self, ctx, incomplete)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))

    def invoke(self, ctx: click.Context) -> Any:
        with report_user_errors(ctx):
            return super().invoke(ctx)


class OneCommand(click.Command):
    """Reports a user's mistakes in the same way as `Commands`, for a command line of one command."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        with_verbosity(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = args if ctx.resilient_parsing else in_our_words(self, args, ctx)
        try:
            return super().parse_args(ctx, known)
        except click.NoSuchOption as error:
            raise with_near_options(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        with report_user_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def report_user_errors(ctx: click.Context) -> Iterator[None]:
    """End the program with one line where the block raises an error that is the user's mistake or failing storage.

    The exit code is the error's own if it has one, else 2 for a mistake and 1 for failing storage. Other errors pass.
    """
    try:
        with extras_named(), sigterm_as_interrupt():
            yield
    except Exit:
        raise
    except click.NoSuchOption as error:
        raise with_near_options(error) from None
    except KeyboardInterrupt:
        click.echo("Stopped. What is finished is kept: run the same command again to go on.", err=True)
        raise Exit(EXIT_INTERRUPTED) from None
    except Exception as error:
        if not is_user_error(error) and getattr(error, "errno", None) not in STORAGE_FAILS:
            raise
        if verbosity() == VERBOSE:
            click.echo("".join(traceback.format_exception(error.__cause__ or error.__context__ or error)), err=True)
        click.echo(f"{ctx.info_name}: {_describe(error)}", err=True)
        code = EXIT_STORAGE_FAILS if speaks_of_failing_storage(error) else EXIT_USER_ERROR
        raise Exit(getattr(error, "exit_code", code)) from None


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Take SIGTERM, which schedulers send, for Ctrl-C while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _describe(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    from s2vc.pipeline.storage.files import describe_os_error

    return describe_os_error(error)


def command_line(
    name: str, table: dict[str, str], package: str, default: str | None = None
) -> Callable[[Callable[[], None]], click.Command]:
    """Return a decorator that makes a command line `name` over a table of Commands; the function's docstring becomes
    its help."""

    def decorate(function: Callable[[], None]) -> click.Command:
        settings = {"help_option_names": ["-h", "--help"], "show_default": True}
        group = click.group(
            name, cls=Commands, table=table, package=package, default=default, context_settings=settings
        )
        return group(click.version_option(package_name="s2vc")(function))

    return decorate


def is_user_error(error: Exception) -> bool:
    # These are imported only after an error, so that --help does not wait for torch and pandas.
    from s2vc.manifests.errors import UserError
    from s2vc.pipeline.flow import FlowFileError

    return isinstance(error, UserError | FlowFileError) or getattr(error, "errno", None) in NO_PLACE
