"""Time jobs with nothing to do, info, verify and opening a training set on a cache of the size of Kinetics-400.

python -m tests.benchmarks.scale [--shards 15000]

The cache is generated: one real shard of 16 tiny videos is encoded and rendered, and every other shard links to its
files, with receipts and index rows of its own. So names and counts are those of 240,000 videos, but contents are not.
verify reports that the names inside the frame files are another shard's, and checks all of them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from s2vc.pipeline.cache.layout import Layout
from tests.benchmarks.measure import prep, print_machine, print_row, scratch
from tests.benchmarks.memory import peak
from tests.support.clips import moving_square, write_clip

VIDEOS = 16
FRAMES = 16
VARIANT = "alpha0.5-zero-video"
CODES = (0, 1)
"""A command may end with one of these exit codes; verify ends with 1, for the reason above."""

OPEN = """
import resource, sys, time
import s2vc.training.clips
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
pairs = s2vc.training.clips.PairClips(sys.argv[1], [sys.argv[2]])
spent, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(pairs), spent, after / 1000, before / 1000)
"""


def one_shard(folder: Path) -> Layout:
    """Make a real cache of one shard, encoded and rendered."""
    rows = ["video_id,label,class_name,split1"]
    for n in range(VIDEOS):
        write_clip(folder / f"v{n:08d}.mp4", moving_square(FRAMES, seed=n))
        rows.append(f"v{n:08d}.mp4,{n % 4},c{n % 4},train")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    cache = folder / "cache"
    for words in (
        ("encode", folder / "manifest.csv", "--out", cache, "--size", "64x64"),
        ("render", cache, "--alpha", 0.5),
    ):
        subprocess.run(prep(*words), check=True, stdout=subprocess.DEVNULL)
    return Layout(cache)


def grow(layout: Layout, folder: Path, shards: int) -> None:
    """Extend a cache of one shard, and its manifest, to look as if it had `shards` shards."""
    first = {p: json.loads(p.read_text()) for p in layout.root.glob("receipts/**/00000.json")}
    files = [p for p in layout.root.rglob("*") if p.is_file() and any("00000" in s for s in relative(layout, p))]
    linked = [p for p in files if p not in first]
    for shard in range(1, shards):
        number = f"{shard:05d}"
        for path in linked:
            target = renamed(layout, path, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
        for path, receipt in first.items():
            text = json.dumps({**receipt, "shard": shard, "videos": videos_of(receipt, shard)}, indent=1)
            path.with_name(f"{number}.json").write_text(text.replace("/00000", f"/{number}") + "\n")
    index = pd.read_csv(layout.index, keep_default_na=False)
    whole = pd.concat([index] * shards, ignore_index=True)
    whole["video_id"] = [f"v{n:08d}.mp4" for n in range(len(whole))]
    whole["shard"] = np.repeat(np.arange(shards), VIDEOS)
    whole.to_csv(layout.index, index=False, lineterminator="\n")
    whole[["video_id", "label", "class_name", "split1"]].to_csv(folder / "manifest.csv", index=False)
    settings = json.loads(layout.settings.read_text())
    layout.settings.write_text(json.dumps({**settings, "segments": [len(whole)]}))


def relative(layout: Layout, path: Path) -> tuple[str, ...]:
    return path.relative_to(layout.root).parts


def renamed(layout: Layout, path: Path, number: str) -> Path:
    """Return the path of the same file of another shard, which is known by its number.

    The number is the shard's folder in latents.zarr, and part of the file's name elsewhere.
    """
    parts = relative(layout, path)
    if parts[0] == "latents.zarr":
        return layout.root.joinpath(parts[0], number, *parts[2:])
    return path.with_name(path.name.replace("00000", number))


def videos_of(receipt: dict, shard: int) -> list[dict]:
    return [{**v, "video_id": f"v{shard * VIDEOS + n:08d}.mp4"} for n, v in enumerate(receipt["videos"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=15_000)
    options = parser.parse_args()
    print_machine()
    with scratch() as folder:
        layout = one_shard(folder)
        small = {name: peak(*words, codes=CODES) for name, words in commands(layout, folder).items()}
        started = time.perf_counter()
        grow(layout, folder, options.shards)
        print(f"{options.shards} shards, {options.shards * VIDEOS} videos; generated in", end=" ")
        print(f"{time.perf_counter() - started:.0f} s. Beyond the same command on one shard:")
        for name, words in commands(layout, folder).items():
            memory, seconds = peak(*words, codes=CODES)
            less_memory, less_seconds = small[name]
            target = "30 s" if name in ("encode", "render") else ""
            figure = f"{seconds - less_seconds:.1f} s, {memory - less_memory:.0f} MB"
            print_row(f"{name}, {'nothing to do' if target else 'all shards'}", figure, None, target)
        words = [sys.executable, "-c", OPEN, str(layout.root), VARIANT]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        count, seconds, memory, before = done.stdout.split()
        figure = f"{float(seconds):.1f} s, {float(memory):.0f} MB"
        print_row(f"training set of {count} videos opened", figure, None, "10 s and 500 MB")
        print(f"  (of these MB {float(before):.0f} are the program's, before it opens anything)")


def commands(layout: Layout, folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        "encode": ("encode", folder / "manifest.csv", "--out", layout.root),
        "render": ("render", layout.root, "--alpha", 0.5),
        "info": ("info", layout.root),
        "verify --quick": ("verify", layout.root, "--quick"),
    }


if __name__ == "__main__":
    main()
