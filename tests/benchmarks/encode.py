"""Compare the whole `s2vc-prep encode` with its two parts alone: ingest, and the flow on frames in memory.

python -m tests.benchmarks.encode [--minutes 3] [--repeats 1] [--videos FOLDER]
"""

import argparse
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from s2vc.pipeline.cache.layout import INGEST, Layout
from s2vc.pipeline.cache.receipts import read_receipt
from s2vc.pipeline.flow import load_flow
from s2vc.pipeline.stages.adaptive_batches import BATCH
from s2vc.pipeline.stages.encode_shard import as_images
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from tests.benchmarks.measure import (
    one_thread,
    print_machine,
    print_row,
    ratio,
    real_clips,
    run_prep,
    scratch,
    seconds,
    settings,
    write_manifest,
)

TRIED = 6
"""This many clips are timed to choose the size of the job."""


def ingest(videos: list[Path], shard_size: int, root: Path, cache: Path, shard: int) -> int:
    """Ingest a shard of the videos in this process; return its number of frames."""
    chosen = settings(len(videos), shard_size)
    sources = [Source(f"v{n:05d}", str(v.relative_to(root))) for n, v in enumerate(videos)]
    rows = chosen.shards()[shard]
    return ingest_shard(Layout(cache), chosen, shard, sources[rows.start : rows.stop], root).frames


def flow(frames: int) -> None:
    """Encode `frames` frames with the built-in flow, without statistics and without writing anything."""
    model = load_flow("default")
    small = torch.randint(0, 256, (BATCH["cpu"], 64, 64, 3), dtype=torch.uint8)
    for start in range(0, frames, len(small)):
        model.encode(as_images(small[: frames - start]))


def sized(clips: list[Path], root: Path, scrap: Path, seconds_each: float, round_of: int) -> list[Path]:
    """Return as many clips, repeated if need be, as take one worker `seconds_each` seconds.

    The number is a multiple of `round_of`, the clips of a round of shards.
    """
    tried = clips[:: max(1, len(clips) // TRIED)][:TRIED]
    flow(BATCH["cpu"])
    one = seconds(lambda: ingest(tried, TRIED, root, scrap, 0))
    receipt = read_receipt(Layout(scrap), INGEST, 0)
    assert receipt is not None
    per_clip = (one + receipt.frames * seconds(lambda: flow(BATCH["cpu"])) / BATCH["cpu"]) / len(tried)
    # A round is one shard for each worker. In an incomplete last round some workers would have nothing to do.
    count = max(1, round(seconds_each / per_clip / round_of)) * round_of
    return [clips[n % len(clips)] for n in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="about how long the command is to run")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--videos", type=Path, help="folder of MP4s to take in place of the real clips")
    parser.add_argument("--shard-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print_machine()
    one_thread()
    with scratch() as folder:
        clips = sorted(options.videos.rglob("*.mp4")) if options.videos else real_clips("interaction", folder)
        root = Path(os.path.commonpath(clips))
        busy = options.minutes * 60 * options.workers
        videos = sized(clips, root, folder / "tried", busy, options.workers * options.shard_size)
        manifest = write_manifest(folder / "manifest.csv", videos, root)
        measure(videos, root, manifest, folder, options)


def measure(videos: list[Path], root: Path, manifest: Path, folder: Path, options: argparse.Namespace) -> None:
    """Time ingest, the flow and the command in turn, and print the ratio of both parts to the command."""
    workers, shard_size = options.workers, options.shard_size
    shards = range(len(settings(len(videos), shard_size).shards()))
    print(f"{len(videos)} videos in {len(shards)} shards, {workers} workers, float32")
    parts, whole = [], []
    for _ in range(options.repeats):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, one_thread) as pool:
            list(pool.map(flow, [1] * workers * 2))  # starts the processes
            task = partial(ingest, videos, shard_size, root, folder / "ingested")
            frames: list[int] = []
            ingesting = seconds(partial(_collect, pool, task, shards, frames))
            share = [sum(frames) // workers] * workers
            flowing = seconds(lambda: list(pool.map(flow, share)))  # noqa: B023
        arguments = ["--root", root, "--out", folder / "cache", "--workers", workers, "--shard-size", shard_size]
        start, total = run_prep("encode", manifest, *arguments, "--precision", "float32")
        parts.append(ingesting + flowing)
        whole.append(total - start)
        for name, spent in (("ingest alone", ingesting), ("flow alone", flowing), ("the command", total - start)):
            print_row(name, f"{spent:.1f} s, {sum(frames) / spent:.0f} frames/s")
        print_row("start of Python and Ray, taken off", f"{start:.1f} s")
        shutil.rmtree(folder / "cache")
        shutil.rmtree(folder / "ingested")
    print_row("both parts / the command", f"{sum(frames)} frames", ratio(parts, whole), "0.85x")


def _collect(pool: ProcessPoolExecutor, task: partial[int], shards: range, frames: list[int]) -> None:
    frames += pool.map(task, shards)


if __name__ == "__main__":
    main()
