"""Define the types and options of commands that several of them share."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from s2vc.pipeline.cache.cache_storage import CacheStorage

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
OUTPUT = click.Path(path_type=Path)


class Size(click.ParamType):
    """Parses HEIGHTxWIDTH in pixels, 16 to 4096 each, to (height, width)."""

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


class Channel(click.ParamType):
    """Parses one of the three numbers of an option for red, green and blue."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value)
        except ValueError:
            self.fail(f"it takes three numbers, R G B, such as 0.5 0.5 0.5, and {value!r} is none", param, ctx)


class SharedDevice(click.ParamType):
    """Parses what the workers of a job compute on: `auto`, `cpu`, `cuda` for all GPUs, `cuda:1` for one of this
    machine."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(rf"{AUTO_DEVICE}|cpu|cuda(:\d+)?", str(value)):
            self.fail(f"{value!r} is none of {AUTO_DEVICE}, cpu, cuda, cuda:0, cuda:1, …", param, ctx)
        return str(value)


class CacheType(click.ParamType):
    """Parses the name of a cache: a folder gives its path, and a URL a storage with the local cache that the options
    --local-cache and --local-cache-size describe."""

    name = "cache"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Path | CacheStorage":
        if "://" not in str(value) or (ctx and ctx.resilient_parsing):  # a shell completes a command line
            return FOLDER.convert(value, param, ctx)
        # This imports torch, so it is imported only when it is needed.
        from s2vc.pipeline.cache.opening import open_storage

        given = ctx.meta if ctx else {}
        return open_storage(value, given.get("local_cache") or "", given.get("local_cache_size") or "")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return FOLDER.shell_complete(ctx, param, incomplete)


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep the value of an option where `CacheType` finds it."""
    ctx.meta[param.name or ""] = value


local_cache_option = click.option(
    "--local-cache",
    type=FOLDER,
    is_eager=True,
    expose_value=False,
    callback=_note,
    help="Folder for copies of the shards of a cache at a URL.  [default: s2vc in your cache folder]",
)
local_cache_size_option = click.option(
    "--local-cache-size",
    is_eager=True,
    expose_value=False,
    callback=_note,
    help="What they may take; the least recently used go first.  [default: 50GB]",
)


def with_local_cache(parameter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds an argument or option that names a cache, and the two options of its local cache."""
    return lambda command: parameter(local_cache_option(local_cache_size_option(command)))


CACHE = CacheType()
cache_argument = with_local_cache(click.argument("cache", type=CACHE))
root_option = click.option(
    "--root",
    type=FOLDER,
    help="Folder the manifest's paths start from.  [default: that which s2vc-prep manifest read, else the manifest's]",
)
address_option = click.option(
    "--ray-address", metavar="ADDRESS", help="Join this Ray cluster; 'auto': the one that runs on this machine."
)


AUTO_DEVICE = "auto"
DEVICE_HELP = "Device that computes: cpu, cuda, cuda:1, …; auto: cuda where there is a GPU, else cpu.  [default: auto]"
WORKERS_HELP = "Processes that share the work, at most.  [default: one for each CPU]"


def _none_for_auto(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take the device that there is where it is asked for by name, as where none is."""
    return None if value == AUTO_DEVICE else value


device_option = click.option("--device", metavar="NAME", callback=_none_for_auto, help=DEVICE_HELP)
"""For what computes in its own process: auto, cpu, cuda, cuda:1, …"""
shared_device_option = click.option(
    "--device", type=SharedDevice(), metavar="NAME", callback=_none_for_auto, help=DEVICE_HELP
)
"""For jobs on Ray, which take all GPUs that there are, one of this machine, or none."""
workers_option = click.option("--workers", type=click.IntRange(1), help=WORKERS_HELP)


def threads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command that computes in its own process with --threads, which is set before it begins."""

    @functools.wraps(command)
    def with_threads(*arguments: Any, threads: int | None, **options: Any) -> Any:
        import torch

        from s2vc.pipeline.processors import default_threads

        torch.set_num_threads(threads or default_threads())
        return command(*arguments, **options)

    return click.option(
        "--threads",
        type=click.IntRange(1),
        help="Cores that this process computes on.  [default: OMP_NUM_THREADS, else all that it may use]",
    )(with_threads)
