"""Compare one `s2vc-prep render` of four alphas with four calls of one alpha, and time the parts of rendering a shard.

python -m tests.benchmarks.render [--videos 24] [--repeats 3]
"""

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from subprocess import run
from typing import Any
from unittest.mock import patch

from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.corrections import CorrectionWriter
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.flow import Flow
from s2vc.pipeline.stages import render_shard as render
from s2vc.pipeline.stages.encode_shard import cache_flow
from s2vc.pipeline.variants import Variant
from tests.benchmarks.measure import (
    one_thread,
    print_machine,
    print_row,
    ratio,
    real_clips,
    run_prep,
    scratch,
    seconds,
    write_manifest,
)

ALPHAS = (0.2, 0.3, 0.4, 0.5)

# These functions are timed while a shard is rendered: owner, name of the function, what it does.
PARTS: tuple[tuple[Any, str, str], ...] = (
    (render, "read_latents", "read latents (beside)"),
    (render, "read_small", "read small frames (beside)"),
    (render._Renderer, "_begin", "choose what is suppressed"),
    (Flow, "decode", "flow, decode"),
    (render._Open, "take", "spool changes"),
    (CorrectionWriter, "add", "round, hand to HDF5"),
    (render, "make_receipt", "hashes for the receipt"),
)


def timed(totals: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function wrapped so that the time spent in it is added to `totals` under a name."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            totals[name] += time.perf_counter() - started  # type: ignore[assignment]

    return wrapper


def where_time_goes(cache: Path, alphas: tuple[float, ...]) -> None:
    """Render shard 0 at these alphas in this process, on one thread, and print the time of each part."""
    storage = LocalStorage(cache)
    settings = read_settings(storage)
    variants = [Variant("zero", alpha=a) for a in alphas]
    cache_flow(storage.layout.flow, settings, "cpu")
    totals: Counter[str] = Counter()
    with ExitStack() as stack:
        for owner, name, what in PARTS:
            stack.enter_context(patch.object(owner, name, timed(totals, what, getattr(owner, name))))
        arguments = (storage.layout, settings, 0, variants, "cpu")
        whole = seconds(lambda: render.render_shard(*arguments))
    print(f"shard 0, {len(alphas)} alphas, one thread: {whole:.2f} s (beside: in a thread of its own)")
    beside = sum(v for k, v in totals.items() if "beside" in k)
    totals["the rest (HDF5 compresses and syncs at its close)"] = whole - (sum(totals.values()) - beside)  # type: ignore[assignment]
    for what, spent in totals.items():
        print_row(what, f"{spent:.2f} s, {spent / whole:.1%}")


def calls(cache: Path, alphas: list[tuple[float, ...]]) -> tuple[float, float]:
    """Call `s2vc-prep render` once for each group of alphas, on a cache with nothing rendered.

    Returns the seconds of all calls, and those of their start-ups.
    """
    shutil.rmtree(cache / "motion", ignore_errors=True)
    shutil.rmtree(cache / "receipts" / "motion", ignore_errors=True)
    times = [run_prep("render", cache, *(o for a in group for o in ("--alpha", a))) for group in alphas]
    return sum(t for _, t in times), sum(start for start, _ in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--shard-size", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print_machine()
    one_thread()
    with scratch() as folder:
        clips = real_clips("interaction", folder)
        root = Path(os.path.commonpath(clips))
        videos = clips[:: max(1, len(clips) // options.videos)][: options.videos]
        manifest = write_manifest(folder / "manifest.csv", videos, root)
        run_prep("encode", manifest, "--root", root, "--out", folder / "a", "--shard-size", options.shard_size)
        shutil.copytree(folder / "a", folder / "b")
        together, apart = [], []
        for _ in range(options.repeats):
            together.append(calls(folder / "a", [ALPHAS]))
            apart.append(calls(folder / "b", [(a,) for a in ALPHAS]))
        show("4 alphas in one call", together)
        show("4 calls of one alpha", apart)
        print_row("4 calls / one call", "", ratio([t for t, _ in apart], [t for t, _ in together]))
        without = [[t - start for t, start in both] for both in (apart, together)]
        print_row("4 calls / one call, start-ups taken off", "", ratio(*without))
        importing = partial(run, [sys.executable, "-c", "import s2vc.pipeline.jobs.encode_job"], check=True)
        print_row("of a start-up, imports", f"{seconds(importing):.1f} s")
        where_time_goes(folder / "a", ALPHAS[-1:])
        where_time_goes(folder / "b", ALPHAS)


def show(what: str, times: list[tuple[float, float]]) -> None:
    """Print the median of the times, with its start-up."""
    whole, start = sorted(times)[len(times) // 2]
    print_row(what, f"{whole:.1f} s, start-up {start:.1f} s")


if __name__ == "__main__":
    main()
