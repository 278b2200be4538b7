"""Compare the extraction of features with the backbone alone, and a large retrieval with a plain matrix product.

python -m tests.benchmarks.evaluation [--windows 48] [--repeats 3] [--only features retrieval]
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import torch

from s2vc.eval.features import BATCH, embed_windows
from s2vc.eval.retrieval import recall_at_k
from s2vc.eval.view import StoredWindows, View, WindowCrops
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.processors import available_cpus
from s2vc.training.backbones import build_backbone
from s2vc.training.loader import spare_cpus
from tests.benchmarks.measure import (
    alternate,
    print_machine,
    print_row,
    ratio,
    real_clips,
    run_prep,
    scratch,
    write_manifest,
)

VIEW = View(112, 16)
QUERIES, GALLERY, WIDTH, CLASSES = 10_000, 250_000, 1024, 101


def measure_features(folder: Path, windows: int, repeats: int) -> None:
    """Compare the windows/s of reading, cropping and embedding a cache with the backbone on a tensor in memory."""
    clips = real_clips("interaction", folder)[:8]
    manifest = write_manifest(folder / "m.csv", clips, clips[0].parents[1])
    run_prep("encode", manifest, "--root", clips[0].parents[1], "--out", folder / "cache")
    cache = Cache(folder / "cache")
    stored = StoredWindows(cache, np.arange(len(cache.index)), VIEW)
    stored.offsets = np.minimum(stored.offsets, windows // BATCH * BATCH)
    torch.manual_seed(0)
    backbone = build_backbone("r3d18").eval()
    ready = torch.randn(BATCH, 3, VIEW.frames, VIEW.size, VIEW.size).contiguous(memory_format=torch.channels_last_3d)

    def extraction() -> None:
        for _ in embed_windows(stored, backbone, VIEW, torch.device("cpu"), spare_cpus()):
            pass

    @torch.no_grad()
    def alone() -> None:
        for _ in range(len(stored) // BATCH):
            backbone(ready)

    def preparation() -> None:
        crops = WindowCrops(VIEW)
        for number in range(0, len(stored), BATCH):
            crops(torch.stack([stored[n] for n in range(number, min(number + BATCH, len(stored)))]), 0, 0)

    times = alternate({"extraction": extraction, "alone": alone, "preparation": preparation}, repeats)
    speeds = {name: len(stored) / float(np.median(t)) for name, t in times.items()}
    print_row("backbone alone, R3D-18, 16 x 112²", f"{speeds['alone']:.2f} windows/s")
    share = ratio(times["alone"], times["extraction"])
    print_row("extraction against it", f"{speeds['extraction']:.2f} windows/s", share, "0.95x")
    # Both share the cores, so that extraction can at best take the time of both.
    cores = available_cpus()
    least = [alone + prepared / cores for alone, prepared in zip(times["alone"], times["preparation"], strict=True)]
    print_row(f"bound by reading and cropping on {cores} cores", f"{speeds['preparation']:.0f} windows/s by themselves")
    print_row("alone against the sum of both on all cores", "", ratio(times["alone"], least))


def retrieve(answer: "multiprocessing.Queue[tuple[float, float, float]]") -> None:
    """Put into `answer` the seconds of the retrieval and of a plain product, and the peak of memory in GB.

    It runs in a process of its own, so that the memory is its own.
    """
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((GALLERY, WIDTH), dtype=np.float32)
    queries = rng.standard_normal((QUERIES, WIDTH), dtype=np.float32)
    labels = rng.integers(0, CLASSES, GALLERY)
    started = time.perf_counter()
    recall_at_k(queries, labels[:QUERIES], gallery, labels, [1, 5, 10, 20, 50])
    middle = time.perf_counter()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    g = torch.from_numpy(gallery).T
    for part in torch.from_numpy(queries).split(64):
        part @ g
    answer.put((middle - started, time.perf_counter() - middle, most))


def measure_retrieval() -> None:
    """Time a retrieval and print it next to the time of the matrix products alone, with the peak of memory."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[tuple[float, float, float]] = context.Queue()
    process = context.Process(target=retrieve, args=(answer,))
    process.start()
    whole, product, most = answer.get()
    process.join()
    print_row(f"recall of {QUERIES} queries in {GALLERY} x {WIDTH}", f"{whole:.1f} s")
    print_row("against the products alone", f"{product:.1f} s", product / whole)
    print_row("memory, the features and libraries included", f"{most:.2f} GB", target="2 GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["features", "retrieval"], default=["features", "retrieval"])
    arguments = parser.parse_args()
    print_machine()
    if "retrieval" in arguments.only:
        measure_retrieval()
    if "features" in arguments.only:
        with scratch() as folder:
            measure_features(folder, arguments.windows, arguments.repeats)


if __name__ == "__main__":
    main()
