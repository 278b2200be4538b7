"""`s2vc-prep`: from videos to motion-preserved clips."""

import sys
from importlib import import_module
from typing import Any

import click

EXIT_USER_ERROR = 2
EXIT_FAILED_VIDEOS = 3
EXIT_UNFINISHED = 1
EXIT_INTERRUPTED = 130

# In the order of the work. A command's module, and with it torch and Ray, is imported when the command is used.
COMMANDS = {
    "demo": "Draw a small set of videos and take it through all stages.",
    "manifest": "Write the table of videos: from a folder, or a dataset's official lists.",
    "encode": "Decode every video once and cache frames, latents and STDs.",
    "render": "Write motion-preserved clips, per alpha, from the cached latents.",
    "preview": "Picture or animation of originals and variants, side by side.",
    "info": "What is in a cache, and which share of the latents each alpha keeps.",
    "export": "Write motion-preserved clips as files that play anywhere.",
    "verify": "Check every invariant of a cache's format.",
}


class Commands(click.Group):
    """The commands above, imported when used; a user's mistake ends in one line and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(import_module(f"pipeline.cli.{name}"), f"{name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not is_users_mistake(error):
                raise
            click.echo(f"s2vc-prep: {error}", err=True)
            sys.exit(EXIT_USER_ERROR)


def is_users_mistake(error: Exception) -> bool:
    # Imported when something went wrong, so that --help does not wait for torch and pandas.
    from manifests.errors import UserError
    from pipeline.flow import FlowFileError

    return isinstance(error, UserError | FlowFileError)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="s2vc")
def main() -> None:
    """Motion-preserved video datasets, computed once (S²VC, AAAI 2022).

    Videos are decoded and encoded by the flow a single time; each alpha is rendered from the cached latents.
    A job that was stopped is gone on with by running the same command again.
    """
