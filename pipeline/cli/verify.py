"""`s2vc-prep verify`."""

import sys
import time
from pathlib import Path

import click
from rich.console import Console

from pipeline.cache.layout import Layout
from pipeline.cli import EXIT_INTERRUPTED, EXIT_UNFINISHED
from pipeline.cli.options import cache_argument
from pipeline.progress import clock, progress
from pipeline.verify import verify_cache


@click.command("verify")
@cache_argument
@click.option("--quick", is_flag=True, help="Sizes and structure only; hash nothing.")
def verify_command(cache: Path, quick: bool) -> None:
    """Check everything that CACHE's format promises, and name what is not so, a line each.

    Every file is read once and compared with the SHA-256 of its receipt, so that one wrong byte is found. Nothing is
    changed. To have a damaged shard made anew, remove its receipt and run encode (or render) again.
    Exit code 0: all is well; 1: there are problems, or work is left to do; 2: a mistake in the call.
    """
    console = Console()
    try:
        sys.exit(run_verify(cache, quick, console))
    except KeyboardInterrupt:
        console.print("Stopped before all was checked.")
        sys.exit(EXIT_INTERRUPTED)


def run_verify(cache: Path, quick: bool, console: Console) -> int:
    """Verify with progress, a line for each problem, and counts; returns the exit code."""
    started = time.monotonic()
    counts = {False: 0, True: 0}
    for problem in verify_cache(Layout(cache), quick, lambda n: progress("verify", n, "shards", console)):
        counts[problem.unfinished] += 1
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    damaged, unfinished = counts[False], counts[True]
    took = f"checked in {clock(time.monotonic() - started)}{', hashes were not' if quick else ''}"
    if not damaged and not unfinished:
        console.print(f"All is well; {took}.", highlight=False)
        return 0
    left = f", {unfinished} unfinished" if unfinished else ""
    console.print(f"{damaged} problem{'s' * (damaged != 1)}{left}; {took}.", highlight=False)
    if damaged:
        console.print(
            "To have a damaged shard made anew, remove its receipt, receipts/STAGE/SHARD.json, "
            "and run that command again.",
            highlight=False,
            soft_wrap=True,
        )
    return EXIT_UNFINISHED
