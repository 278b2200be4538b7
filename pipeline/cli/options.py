"""Kinds of options that several commands share."""

import re
from pathlib import Path
from typing import Any

import click

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
OUTPUT = click.Path(path_type=Path)


class Size(click.ParamType):
    """HEIGHTxWIDTH, in pixels."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)x(\d+)", value)
        height, width = (int(match[1]), int(match[2])) if match else (0, 0)
        if not (16 <= height <= 4096 and 16 <= width <= 4096):
            self.fail(
                f"{value!r} is no size; write HEIGHTxWIDTH in pixels of 16 to 4096, such as 128x171",
                param,
                ctx,
            )
        return height, width


cache_argument = click.argument("cache", type=FOLDER)
address_option = click.option(
    "--ray-address", metavar="ADDRESS", help="Join this Ray cluster; 'auto': the one that runs on this machine."
)
workers_option = click.option("--workers", type=click.IntRange(1), help="CPU workers at most.  [default: all CPUs]")
