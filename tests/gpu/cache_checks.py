"""Check caches that were made on the device: against the CPU's, and after the job that made them was killed."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.latents import read_std_video
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.storage import files
from tests.gpu.parts import Place
from tests.gpu.videos import ALPHAS, call, command, draw_videos, encode, training_cache, without_gpu

COMPARED = 24
"""So many videos are compared with the CPU's, in the order of the index."""


def cache_against_cpu(place: Place) -> dict[str, Any]:
    """Encode on the device, with its own precision and in float32, and on the CPU in float32. Return how far z and the
    STDs are off, how many masks are flipped at each alpha, and the frames/s of whole commands."""
    caches = {name: place.work / f"cache-{name}" for name in ("auto", "float32", "cpu")}
    seconds = {
        "auto": encode(place, caches["auto"]),
        "float32": encode(place, caches["float32"], "--precision", "float32"),
        "cpu": encode(place, caches["cpu"], "--precision", "float32", environment=without_gpu()),
    }
    reference = Cache(caches["cpu"])
    found: dict[str, Any] = {"videos": len(reference.index), "frames": int(reference.index["frames"].sum())}
    for name, spent in seconds.items():
        found[f"encode, {name}: frames/s, start included"] = found["frames"] / spent
    for name in ("auto", "float32"):
        found[f"{name} against the CPU in float32"] = compare(Cache(caches[name]), reference)
    found["render of 4 alphas, seconds, start included"] = call(
        "s2vc-prep", "render", caches["auto"], *(word for alpha in ALPHAS for word in ("--alpha", alpha))
    )
    call("s2vc-prep", "verify", caches["auto"])
    return found


def compare(cache: Cache, reference: Cache) -> dict[str, Any]:
    """Compare the latents of the first videos, and the masks that their STDs give."""
    videos = reference.index["video_id"][:COMPARED]
    off = np.concatenate([(cache.latents(v) - reference.latents(v)).ravel() for v in videos])
    std, expected = (
        np.concatenate([read_std_video(c.storage.latent_group(n)) for n in range(len(c.settings.shards()))])
        for c in (cache, reference)
    )
    flipped = {a: float(((std >= float(a)) != (expected >= float(a))).mean()) for a in ALPHAS}
    return {
        "precision": cache.settings.precision,
        "z off, rms": float(np.sqrt(np.square(off, dtype=np.float64).mean())),
        "z off, most": float(np.abs(off).max()),
        "STD off, most": float(np.abs(std - expected).max()),
        "share of masks flipped, by alpha": flipped,
    }


def kill_and_resume(place: Place) -> dict[str, Any]:
    """Kill an encode when its first shard is done, and the workers with it; go on. Return how many files differ from
    those of a cache that was made in one go."""
    whole, killed = training_cache(place), place.work / "cache-killed"
    folder = draw_videos(place)
    arguments = (folder / "manifest.csv", "--root", folder / "videos", "--out", killed)
    process = subprocess.Popen(command("s2vc-prep", "encode", *arguments), start_new_session=True)
    receipts = Layout(killed).root / "receipts" / "encode"
    while process.poll() is None and not list(receipts.glob("*.json")):
        time.sleep(0.05)
    done = len(list(receipts.glob("*.json")))
    for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        os.kill(child.pid, signal.SIGKILL)
    process.wait()
    call("s2vc-prep", "encode", *arguments)
    return {"shards done before the kill": done, **difference(killed, whole)}


def two_jobs(place: Place) -> dict[str, Any]:
    """Encode into two caches at once, which share the device; return how many files differ between them."""
    folder = draw_videos(place)
    caches = [place.work / f"cache-job{n}" for n in range(2)]
    where = (folder / "manifest.csv", "--root", folder / "videos")
    jobs = [subprocess.Popen(command("s2vc-prep", "encode", *where, "--out", cache)) for cache in caches]
    return {"codes": [job.wait() for job in jobs], **difference(*caches)}


def difference(cache: Path, other: Path) -> dict[str, Any]:
    """Count the files that a job makes in the first cache, and name those that are other bytes in the second."""
    parts = ("frames", "small", "latents.zarr", "receipts/ingest", "receipts/encode")
    names = [p.relative_to(cache) for part in parts for p in (cache / part).rglob("*") if p.is_file()]
    differ = [str(n) for n in names if files.sha256(cache / n) != files.sha256(other / n)]
    return {"files": len(names), "files that differ": differ}
