"""What a shell offers when the tab key is pressed, beside commands and options: caches, checkpoints and variants."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


def complete_folder(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the folders that begin so; the shell itself lists them."""
    return [CompletionItem(incomplete, type="dir")]


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the files and folders that begin so; the shell itself lists them."""
    return [CompletionItem(incomplete, type="file")]


def complete_variant(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the variants of the cache that stands in the command line already, by the names of their folders."""
    # Click gives up at an option without its value, and leaves the arguments before it as they are.
    cache: Any = ctx.params.get("cache") or next(iter(ctx.args), None)
    if cache is None or "://" in str(cache):
        return []
    try:
        names = sorted(path.parent.name for path in Path(cache).glob("motion/*/variant.json"))
    except OSError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
