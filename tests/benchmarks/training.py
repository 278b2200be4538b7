"""Compare training from cached pairs with plain MoCo, with the flow in the loop and with bare decoding; measure memory.

python -m tests.benchmarks.training [--batch 4] [--steps 6] [--repeats 2] [--only speed loader memory]
"""

import argparse
import os
import statistics
import subprocess
from pathlib import Path

import numpy as np
import psutil
import simplejpeg
import torch

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.frames import read_jpegs
from s2vc.pipeline.flow import Architecture, Flow
from s2vc.pipeline.flow.checkpoints import save_flow
from s2vc.pipeline.storage.freed_memory import keep_freed_memory
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.clips import PairClips
from s2vc.training.loader import EpochBatches, Loader
from s2vc.training.methods import open_clips
from s2vc.training.run_folder import RunFolder, read_metrics
from s2vc.training.settings import merge_settings
from s2vc.training.trainer import train
from tests.benchmarks.measure import (
    alternate,
    prep,
    print_machine,
    print_row,
    ratio,
    real_clips,
    scratch,
    write_manifest,
)

VIDEOS = 16
ALPHA = 0.5
WARM = 1
"""This many steps at the start of a run are not counted."""

STEP_PASSES = 4
"""A step costs this many forward passes: forward and backward of the query encoder take three, the key encoder one."""


def make_cache(folder: Path) -> Path:
    """Make a cache of real clips with the built-in flow, rendered at ALPHA."""
    clips = real_clips("interaction", folder)[:VIDEOS]
    root = Path(os.path.commonpath(clips))
    manifest = write_manifest(folder / "m.csv", clips, root)
    cache = folder / "cache"
    for command in (
        ("encode", manifest, "--root", root, "--out", cache),
        ("render", cache, "--alpha", ALPHA),
    ):
        subprocess.run(prep(*command), check=True, stdout=subprocess.DEVNULL)
    return cache


def published_flow(folder: Path) -> Path:
    """Write a flow of the published architecture; its weights are random, which does not change its speed."""
    path = folder / "published.safetensors"
    save_flow(Flow(Architecture()), path)
    return path


def clips_per_second(cache: Path, out: Path, batch: int, steps: int, **chosen: object) -> tuple[float, float]:
    """Train for `steps` steps after WARM ones; return the median clips/s and the mean share of time spent waiting for
    data."""
    given = {"cache": str(cache), "batch": batch, "epochs": 1, "checkpoint_minutes": 1000.0, **chosen}
    settings = merge_settings(given)
    clips = open_clips(settings)
    settings, _ = resolve_settings(settings, len(clips))
    folder = RunFolder(out)
    folder.open(settings)
    done = 0

    def count(record: object) -> None:
        nonlocal done
        done += 1

    train(settings, clips, folder, torch.device("cpu"), count, lambda: done >= steps + WARM - 1)
    records = read_metrics(folder.metrics)[WARM:]
    folder.checkpoint.unlink()
    return statistics.median(r.clips_per_second for r in records), float(np.mean([r.data_wait for r in records]))


def speed(cache: Path, folder: Path, batch: int, steps: int, repeats: int) -> None:
    """Measure the clips/s of the methods in turn, and print them with their ratios."""
    methods: dict[str, dict[str, object]] = {
        "moco": {"method": "moco"},
        "s2vc": {"alpha": [ALPHA]},
        "s2vc-online": {"method": "s2vc-online", "alpha": [ALPHA], "flow": str(published_flow(folder))},
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for number in range(repeats):
        for name, chosen in methods.items():
            taken = 2 if name == "s2vc-online" else steps
            found[name].append(clips_per_second(cache, folder / f"{name}{number}", batch, taken, **chosen))
    rates = {name: [r for r, _ in values] for name, values in found.items()}
    for name, values in found.items():
        waiting = statistics.mean(w for _, w in values)
        print_row(f"{name}, R3D-18, 16 x 112², batch {batch}", f"{statistics.median(rates[name]):.2f} clips/s")
        print_row("  waiting for data, share of a step", f"{waiting:.1%}", None, "< 5%")
    print_row("cached s2vc / moco", "", ratio(rates["s2vc"], rates["moco"]), "0.95x")
    print_row("cached s2vc / s2vc-online", "", ratio(rates["s2vc"], rates["s2vc-online"]), "3x, aim 5x")
    flow, step = 2 * 16 * operations(Flow(Architecture())), STEP_PASSES * operations(None)
    print_row("  by count of operations", f"{flow / 1e9:.0f} + {step / 1e9:.0f} GFLOP a clip", (flow + step) / step)


def operations(flow: Flow | None) -> float:
    """Return the floating-point operations of encoding a frame with the flow or, for None, of R3D-18's forward pass of
    a clip."""
    from torch.utils.flop_counter import FlopCounterMode

    from s2vc.training.backbones import build_backbone

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if flow is None:
            build_backbone("r3d18").eval()(torch.zeros(1, 3, 16, 112, 112))
        else:
            flow.forward(torch.zeros(1, 3, 64, 64))
    return float(counter.get_total_flops())


def loader(cache: Path, repeats: int) -> None:
    """Compare the pairs/s that one process reads with decoding the same JPEGs from memory."""
    torch.set_num_threads(1)
    keep_freed_memory()  # the workers of a loader do the same
    pairs = PairClips(cache, [f"alpha{ALPHA}-zero-video"], split="all")
    jpegs = pair_jpegs(pairs)

    def decode() -> None:
        for jpeg in jpegs:
            simplejpeg.decode_jpeg(jpeg, "RGB")

    def read() -> None:
        for item in range(len(pairs)):
            pairs[item]

    read()
    times = alternate({"decode": decode, "read": read}, repeats)
    for name, what in (("decode", "bare JPEG decoding of 32 frames"), ("read", "PairClips, 16 x 112² of 128x171")):
        shown = ratio(times["decode"], times["read"]) if name == "read" else None
        print_row(what, f"{len(pairs) / statistics.median(times[name]):.1f} pairs/s", shown, "0.75x" if shown else "")


def pair_jpegs(pairs: PairClips) -> list[bytes | memoryview]:
    """Return the JPEGs of the first 32 frames of each video; a shorter video repeats its frames."""
    jpegs = []
    for item in range(len(pairs)):
        video = pairs.videos[item]
        stored = read_jpegs(pairs.cache.layout.frames(video.shard), video.first_frame, video.first_frame + video.frames)
        jpegs += [stored[n % len(stored)] for n in range(32)]
    return jpegs


def memory(cache: Path, epochs: int = 10) -> None:
    """Compare the PSS of a loader's worker after ten epochs with that after one."""
    pairs = PairClips(cache, [f"alpha{ALPHA}-zero-video"], split="all")
    reader = Loader(pairs, EpochBatches(pairs.shards, 4, seed=0), torch.device("cpu"), workers=1)
    sizes = []
    for epoch in range(epochs):
        for _ in reader.epoch(epoch):
            pass
        sizes.append(max(p.memory_full_info().pss for p in psutil.Process().children(recursive=True)))
    print_row("memory of a worker after 10 epochs / after 1", f"{sizes[-1] / 1e6:.0f} / {sizes[0] / 1e6:.0f} MB",
              sizes[-1] / sizes[0], "<= 1.05x")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=["loader", "memory", "speed"])
    arguments = parser.parse_args()
    print_machine()
    with scratch() as folder:
        cache = make_cache(folder)
        print(f"{Cache(cache)}")
        if "loader" in arguments.only:
            loader(cache, 5 * arguments.repeats)
        if "memory" in arguments.only:
            memory(cache)
        if "speed" in arguments.only:
            torch.set_num_threads(os.cpu_count() or 1)
            speed(cache, folder, arguments.batch, arguments.steps, arguments.repeats)


if __name__ == "__main__":
    main()
