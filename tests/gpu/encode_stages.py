"""Measure the stages of a whole encode apart, decoding, flow and writing, and name the slowest."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from s2vc.manifests.table import read_manifest
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.latents import read_std_clip_histogram, read_std_video, write_latents
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.processors import available_cpus
from s2vc.pipeline.stages.encode_shard import cache_flow, encode_shard
from s2vc.pipeline.stages.ingest_shard import ingest_shard, sources_of
from tests.gpu.flow_speed import frames, median_seconds
from tests.gpu.parts import Place, Question
from tests.gpu.videos import draw_videos, training_cache

WRITTEN = 512
"""So many frames are written at a time, as many as go through the flow together on a GPU."""
SHARDS = 3
"""So many shards are timed, after one that warms up, or as many as there are."""


def encode_stages(place: Place) -> dict[str, Question]:
    """Ask for the frames/s of each stage and which is the slowest."""
    return {"stages of encode": lambda: stages(place)}


def stages(place: Place) -> dict[str, Any]:
    """Return the frames/s of each stage by itself, in this process: decoding by one core, and times the cores here; all
    that the GPU's process does; and the parts of that, the flow alone and writing alone."""
    cache, folder = Cache(training_cache(place)), draw_videos(place)
    layout, settings = copy_of(cache, place.work / "stages"), cache.settings
    sources = sources_of(read_manifest(folder / "manifest.csv"))
    rows = settings.shards()
    shards = list(range(min(len(rows), SHARDS + 1)))
    count = [int(cache.index["frames"][r.start : r.stop].sum()) for r in rows]

    def decode(shard: int) -> None:
        part = rows[shard]
        ingest_shard(layout, settings, shard, sources[part.start : part.stop], folder / "videos")

    decoding = frames_a_second(decode, shards, count)
    encoding = frames_a_second(lambda shard: encode_shard(layout, settings, shard, place.device), shards, count)
    flow = cache_flow(layout.flow, settings, place.device)
    x = frames(2 if place.tiny else WRITTEN, place)
    alone = len(x) / median_seconds(lambda: flow.encode(x)[0].cpu(), place.device)
    z = np.random.default_rng(0).standard_normal((WRITTEN, LATENTS), np.float32)
    writing = frames_a_second(lambda shard: write_again(layout, shard, count[shard], z), shards, count)
    rates = {"decoding, all cores": decoding * available_cpus(), "flow": alone, "writing": writing}
    return {
        "decoding, one core, frames/s": decoding,
        "cores": available_cpus(),
        "reading small frames, flow, STDs and writing together, frames/s": encoding,
        "flow and copying z to the CPU, frames/s": alone,
        "writing z, frames/s": writing,
        "slowest": min(rates, key=lambda name: rates[name]),
    }


def copy_of(cache: Cache, to: Path) -> Layout:
    """Copy the files of a cache that its stages need, anew."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(cache.layout.root, to, ignore=shutil.ignore_patterns("motion"))
    return Layout(to)


def frames_a_second(work: Any, shards: list[int], count: list[int]) -> float:
    """Time work(shard) for shards that hold so many frames, the first of which only warms up where there are more."""
    work(shards[0])
    timed = shards[1:] or shards
    started = time.perf_counter()
    for shard in timed:
        work(shard)
    return sum(count[shard] for shard in timed) / (time.perf_counter() - started)


def write_again(layout: Layout, shard: int, count: int, z: np.ndarray) -> None:
    """Write so many latents as those of a shard, z (WRITTEN, LATENTS) again and again."""
    path = layout.latents(shard)
    std, histogram = read_std_video(path), read_std_clip_histogram(path)
    with write_latents(layout.root / "again.zarr" / path.name, count, len(std)) as writer:
        for start in range(0, count, WRITTEN):
            writer.append(z[: count - start])
        writer.finish(std, histogram)
