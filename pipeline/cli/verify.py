"""Define the command `s2vc-prep verify`."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import INGEST
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED, Exit
from s2vc.pipeline.console.options import (
    EXISTING_FILE,
    address_option,
    cache_argument,
    root_option,
    shared_device_option,
    workers_option,
)
from s2vc.pipeline.console.progress import clock, progress
from s2vc.pipeline.console.terminal import make_console, print_json, print_result
from s2vc.pipeline.console.verbosity import json_option

if TYPE_CHECKING:
    import pandas as pd

    from s2vc.pipeline.verify.verify_cache import Problem

    Videos = tuple[pd.DataFrame, Path]
    """The sources of a cache are given by a manifest and the folder that its paths start from."""


@click.command("verify")
@cache_argument
@click.option("--quick", is_flag=True, help="Sizes and structure only; hash nothing.")
@click.option("--sources", type=EXISTING_FILE, metavar="MANIFEST", help="Check the videos it was made from, too.")
@root_option
@click.option("--repair", "repairs", is_flag=True, help="Make damaged shards anew, and check again.")
@json_option
@shared_device_option
@workers_option
@address_option
def verify_command(
    cache: Path | CacheStorage,
    quick: bool,
    sources: Path | None,
    root: Path | None,
    repairs: bool,
    workers: int | None,
    device: str | None,
    ray_address: str | None,
) -> None:
    """Check everything that CACHE's format promises, and print a line for each problem.

    Every file is read once and compared with the SHA-256 in its receipt, so that one wrong byte is found. Nothing is
    changed unless --repair is given: then the stage of each damaged shard is done again, and nothing else (frames are
    made from the videos, and need --sources). Files that are not part of the cache are reported, and never removed.
    Exit code 0: all is well; 1: there are problems, or work is left to do; 2: a mistake in the call.
    """
    from s2vc.manifests.table import read_manifest, root_of

    console = make_console()
    storage = open_storage(cache)
    videos = (read_manifest(sources), root or root_of(sources)) if sources else None
    try:
        found = run_verify(storage, quick, videos, workers, console)
        damaged = sorted({(p.shard, p.stage) for p in found if p.stage})
        if repairs and damaged:
            run_repair(storage, damaged, videos, ray_address, workers, console, device)
            found = run_verify(storage, quick, videos, workers, console)
        elif damaged:
            print_repair_command(storage, damaged, sources, root, console)
        print_json({"cache": str(storage), "quick": quick, "problems": [dataclasses.asdict(p) for p in found]})
        raise Exit(EXIT_UNFINISHED if found else 0)
    except KeyboardInterrupt:
        print_result(console, "Stopped before all was checked.")
        raise Exit(EXIT_INTERRUPTED) from None


def run_verify(
    storage: CacheStorage, quick: bool, videos: "Videos | None", workers: int | None, console: Console
) -> "list[Problem]":
    """Verify with progress, print a line for each problem, and counts; return the problems."""
    from s2vc.pipeline.cache.index import refuse_changed_rows
    from s2vc.pipeline.verify.check_sources import check_sources
    from s2vc.pipeline.verify.verify_cache import verify_cache

    started = time.monotonic()
    found = []

    def report(problem: "Problem") -> None:
        found.append(problem)
        print_result(console, str(problem))

    for problem in verify_cache(storage, quick, lambda n: progress("verify", n, "videos", console), workers):
        report(problem)
    if videos:
        settings = read_settings(storage)
        refuse_changed_rows(storage, settings, videos[0])
        for problem in check_sources(
            storage, settings, *videos, quick, lambda n: progress("sources", n, "videos", console)
        ):
            report(problem)
    unfinished = sum(p.unfinished for p in found)
    damaged = len(found) - unfinished
    took = f"checked in {clock(time.monotonic() - started)}{', hashes were not' if quick else ''}"
    if not found:
        print_result(console, f"All is well; {took}.")
    else:
        left = f", {unfinished} unfinished" if unfinished else ""
        print_result(console, f"{damaged} problem{'s' * (damaged != 1)}{left}; {took}.")
    return found


def run_repair(
    storage: CacheStorage,
    damaged: list[tuple[int, str]],
    videos: "Videos | None",
    address: str | None,
    workers: int | None,
    console: Console,
    device: str | None,
) -> None:
    """Do the damaged stages of shards again, with progress; end with exit code 1 if one could not be done.

    damaged: pairs of shard and stage. videos: needed where frames are damaged.
    """
    # These import Ray, which a check without repairs need not wait for.
    from s2vc.pipeline.console.endings import print_unfinished
    from s2vc.pipeline.jobs.repair import repair

    names = ", ".join(f"{stage} of shard {shard:05d}" for shard, stage in damaged)
    console.print(f"to be done again: {names}")
    manifest, root = videos or (None, None)
    with progress("repair", len(damaged), "stages", console) as advance:
        outcome = repair(storage, damaged, manifest, root, address, workers, lambda step, result: advance(1, 0), device)
    print_unfinished(outcome, console)


def print_repair_command(
    storage: CacheStorage, damaged: list[tuple[int, str]], sources: Path | None, root: Path | None, console: Console
) -> None:
    """Print the command that repairs what was found; without the sources it would not find what they have shown."""
    words = ["s2vc-prep", "verify", str(storage), "--repair"]
    if sources:
        words += ["--sources", str(sources)]
    if root:
        words += ["--root", str(root)]
    command = f"`{shlex.join(words)}` makes the damaged shards anew, and nothing else."
    if not sources and any(stage == INGEST for _, stage in damaged):
        command += " Frames are made from the videos: add --sources and the manifest of the encode (and its --root)."
    console.print(command)
