"""`s2vc-train`: contrastive pre-training on cached pairs."""

import sys
from importlib import import_module
from typing import Any

import click

from pipeline.cli import EXIT_UNFINISHED, EXIT_USER_ERROR, is_users_mistake

COMMANDS = {
    "run": "Pre-train on a cache (the default: s2vc-train CACHE …).",
    "export": "Write the backbone of a run as a checkpoint for other programs.",
}


class Commands(click.Group):
    """The commands above, imported when used; without a command's name the first is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*COMMANDS, "-h", "--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(import_module(f"training.cli.{name}"), f"{name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not is_users_mistake(error):
                raise
            from training.run import Stopped

            click.echo(f"s2vc-train: {error}", err=True)
            sys.exit(EXIT_UNFINISHED if isinstance(error, Stopped) else EXIT_USER_ERROR)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="s2vc")
def main() -> None:
    """Contrastive pre-training on a cache of s2vc-prep, at the speed of plain MoCo: s2vc-train CACHE --alpha 0.5

    `s2vc-train run --help` lists the settings. A run that was stopped is gone on with by the same command.
    """
