"""Compare caches in an object store with caches on disk: encode, render, reading pairs, a job with nothing to do.

python -m tests.benchmarks.object_store [--repeats 3] [--shards 15000]

The store is an S3 server on this machine, written in Python, which shares its cores. So the figures are bounds of what
access to a store costs, not those of a real one. With --shards, an encode with nothing to do is timed on a cache of
that many shards in a store that is a folder (file://). It holds receipts only, which is all that is read.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from functools import partial

import torch

from s2vc.manifests.sample import draw_sample
from s2vc.pipeline.cache import Cache
from s2vc.training.clips import PairClips
from s2vc.training.loader import EpochBatches, Loader
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
from tests.benchmarks.memory import peak
from tests.benchmarks.scale import OPEN, VARIANT, grow, one_shard
from tests.support.object_store import BUCKET, choose_server, served

SHARD_SIZE = 4
FRAMES = 96
"""Each clip of the sample has this many frames."""

EPOCHS = 4


def clips_per_second(cache: Cache, epochs: int) -> list[float]:
    """Return the clips/s of each epoch, read by one worker process."""
    pairs = PairClips(cache, [VARIANT], split="all")
    loader = Loader(pairs, EpochBatches(pairs.shards, 4, seed=0, shards_at_hand=2), torch.device("cpu"), workers=1)

    def read(epoch: int) -> None:
        for _ in loader.epoch(epoch):
            pass

    return [len(pairs) / seconds(partial(read, epoch)) for epoch in range(epochs)]


def compare(repeats: int) -> None:
    """Time encode, render and reading pairs, on disk and in the store."""
    with scratch() as folder, served():
        clips = [write_sample(folder / "videos", v.video_id, v.frames) for v in draw_sample(4, FRAMES)]
        manifest = write_manifest(folder / "videos" / "manifest.csv", clips, folder / "videos")
        disk, url, local = folder / "disk", f"s3://{BUCKET}/made", ["--local-cache", folder / "copies"]
        rounds = []
        for number in range(repeats):
            shutil.rmtree(disk, ignore_errors=True)
            rounds.append([stages(manifest, disk, SHARD_SIZE), stages(manifest, f"{url}{number}", SHARD_SIZE, *local)])
        for stage in ("encode", "render"):
            here, there = ([r[k][stage] for r in rounds] for k in (0, 1))
            figure = f"{len(clips) * FRAMES / statistics.median(there):.0f} frames/s"
            print_row(f"{stage} into the store, time against disk", figure, ratio(there, here))
        speeds = []
        for number in range(repeats):
            on_disk = clips_per_second(Cache(disk), EPOCHS)
            stored = clips_per_second(Cache(f"{url}0", folder / f"read{number}", "50GB"), EPOCHS)
            speeds.append((on_disk[0], statistics.median(on_disk[1:]), stored[0], statistics.median(stored[1:])))
        begun, later, cold, warm = (list(s) for s in zip(*speeds, strict=True))
        print_row("pairs from disk, first epoch", f"{statistics.median(begun):.0f} clips/s")
        print_row("… from the store", f"{statistics.median(cold):.0f} clips/s", ratio(cold, begun))
        print_row("pairs from disk, later epochs", f"{statistics.median(later):.0f} clips/s")
        print_row("… from the local cache", f"{statistics.median(warm):.0f} clips/s", ratio(warm, later))


def large(shards: int) -> None:
    """Time an encode with nothing to do, without and with local copies of the receipts, and opening a training set."""
    with scratch() as folder:
        layout = one_shard(folder)
        grow(layout, folder, shards)
        store = folder / "store"
        for part in ("cache.json", "index.csv", "flow.safetensors", "receipts", f"motion/{VARIANT}/variant.json"):
            (store / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (layout.root / part).is_dir() else shutil.copy
            copy(layout.root / part, store / part)
        url, local = store.as_uri(), folder / "copies"
        words = ("encode", folder / "manifest.csv", "--root", folder, "--out", url, "--local-cache", local)
        for what in ("no copies yet", "copies here"):
            memory, spent = peak(*words)
            print_row(
                f"encode of {shards} shards, nothing to do, {what}", f"{spent:.1f} s, {memory:.0f} MB", None, "30 s"
            )
        done = subprocess.run([sys.executable, "-c", OPEN, url, VARIANT], check=True, capture_output=True, text=True)
        count, spent_text, memory_text, _ = done.stdout.split()
        figure = f"{float(spent_text):.1f} s, {float(memory_text):.0f} MB"
        print_row(f"training set of {count} videos opened", figure, None, "10 s and 500 MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shards", type=int)
    options = parser.parse_args()
    print_machine()
    choose_server()
    if options.shards:
        large(options.shards)
    else:
        compare(options.repeats)


if __name__ == "__main__":
    main()
