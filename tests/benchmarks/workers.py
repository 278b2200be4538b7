"""Time `s2vc-prep encode` and `render` of the built-in sample with one worker and with more, and a writer of latents.

python -m tests.benchmarks.workers [--workers 1 2] [--repeats 3]
"""

import argparse
import os
import shutil
import statistics
from pathlib import Path

import numpy as np

from s2vc.manifests.sample import draw_sample
from s2vc.pipeline.cache.latents import HISTOGRAM_BINS, write_latents
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.storage.files import hashes
from tests.benchmarks.measure import (
    print_machine,
    print_row,
    ratio,
    scratch,
    seconds,
    stages,
    write_manifest,
    write_sample,
)

FRAMES = 96
"""Each clip of the sample has this many frames."""

WRITTEN = 2048
"""The writer alone writes a shard of this many frames, 50 MB."""


def measure(manifest: Path, cache: Path, workers: int, shard_size: int) -> dict[str, float]:
    """Return the seconds of each stage; the cache is removed afterwards."""
    times = stages(manifest, cache, shard_size, "--workers", workers)
    shutil.rmtree(cache)
    return times


def write(folder: Path, z: np.ndarray) -> None:
    """Do what encoding a shard does besides running the flow: write latents, sync them, and hash them."""
    with write_latents(folder / "00000", WRITTEN, 1) as writer:
        for start in range(0, WRITTEN, len(z)):
            writer.append(z[: WRITTEN - start])
        writer.finish(np.zeros((1, LATENTS), np.float32), np.zeros((1, HISTOGRAM_BINS), np.int64))
    hashes([folder / "00000"], folder)


def compare_workers(manifest: Path, frames: int, options: argparse.Namespace) -> None:
    """Print the speed of each stage with each number of workers, and its ratio to the first number's."""
    cache = manifest.parent / "cache"
    rounds = [
        {workers: measure(manifest, cache, workers, options.shard_size) for workers in options.workers}
        for _ in range(options.repeats)
    ]
    first = options.workers[0]
    for stage in ("encode", "render"):
        alone = [times[first][stage] for times in rounds]
        for workers in options.workers:
            spent = [times[workers][stage] for times in rounds]
            speed = f"{frames / statistics.median(spent):.1f} frames/s"
            print_row(f"{stage}, --workers {workers}", speed, None if workers == first else ratio(alone, spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=4, help="clips of each class of the sample")
    parser.add_argument("--shard-size", type=int, default=2)
    options = parser.parse_args()
    print_machine()
    print(f"load of the machine before this began: {os.getloadavg()[0]:.1f}; medians of {options.repeats} rounds")
    with scratch() as folder:
        z = np.random.default_rng(0).standard_normal((64, LATENTS)).astype(np.float16)
        writing = [seconds(lambda: write(folder, z)) for _ in range(options.repeats)]
        print_row("a writer of latents alone", f"{WRITTEN / statistics.median(writing):.0f} frames/s")
        clips = [write_sample(folder, v.video_id, v.frames) for v in draw_sample(options.per_class, FRAMES)]
        frames = len(clips) * FRAMES
        print(f"the sample: {len(clips)} clips, {frames} frames, shards of {options.shard_size}; start-ups taken off")
        compare_workers(write_manifest(folder / "manifest.csv", clips, folder), frames, options)


if __name__ == "__main__":
    main()
