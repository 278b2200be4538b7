"""How a command line of several commands behaves: each is imported when used, and mistakes are told in a line."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from s2vc.pipeline.console.exit_codes import EXIT_STORAGE_FAILS, EXIT_USER_ERROR, Exit
from s2vc.pipeline.console.extras import extras_named

# OpenMP reads it when torch is imported. Threads that wait for each other spinning lose whole time slices as soon as
# another process has one of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Of OSErrors: a place that may not be written to, or read, which is a mistake in the call."""
STORAGE_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.EREMOTEIO)
"""Of OSErrors: a full disk, a lost mount, which is nobody's mistake; the same call may do once it is put right."""


class Commands(click.Group):
    """The commands of a table, name -> what it does; command NAME is `NAME_command` in module PACKAGE.NAME, its
    hyphens as underscores.

    A command's module, and with it torch and Ray, is imported when the command is used. A mistake of the user ends in
    one line and exit code 2, or what the error says. default: the command that is meant where none is named.
    """

    def __init__(self, *args: Any, table: dict[str, str], package: str, default: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._table, self._package, self._default = table, package, default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self._default and args and args[0] not in (*self._table, "-h", "--help", "--version"):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self._table:
            return None
        module = name.replace("-", "_")
        return getattr(import_module(f"{self._package}.{module}"), f"{module}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))

    def invoke(self, ctx: click.Context) -> Any:
        with report_user_errors(ctx):
            return super().invoke(ctx)


class OneCommand(click.Command):
    """A command line of one command, which tells mistakes as those of several do."""

    def invoke(self, ctx: click.Context) -> Any:
        with report_user_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def report_user_errors(ctx: click.Context) -> Iterator[None]:
    """A mistake of the user's ends the program with one line, and exit code 2 or the error's own."""
    try:
        with extras_named():
            yield
    except Exit:
        raise
    except Exception as error:
        number = getattr(error, "errno", None)
        if not is_user_error(error) and number not in STORAGE_FAILS:
            raise
        click.echo(f"{ctx.info_name}: {_describe(error)}", err=True)
        code = EXIT_STORAGE_FAILS if number in STORAGE_FAILS else EXIT_USER_ERROR
        raise Exit(getattr(error, "exit_code", code)) from None


def _describe(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    from s2vc.pipeline.storage.files import describe_os_error

    return describe_os_error(error)


def command_line(
    name: str, table: dict[str, str], package: str, default: str | None = None
) -> Callable[[Callable[[], None]], click.Command]:
    """Decorator: a function whose docstring is the help becomes the command line `name` over a table of Commands."""

    def decorate(function: Callable[[], None]) -> click.Command:
        settings = {"help_option_names": ["-h", "--help"], "show_default": True}
        group = click.group(
            name, cls=Commands, table=table, package=package, default=default, context_settings=settings
        )
        return group(click.version_option(package_name="s2vc")(function))

    return decorate


def is_user_error(error: Exception) -> bool:
    # Imported when something went wrong, so that --help does not wait for torch and pandas.
    from s2vc.manifests.errors import UserError
    from s2vc.pipeline.flow import FlowFileError

    return isinstance(error, UserError | FlowFileError) or getattr(error, "errno", None) in NO_PLACE
