"""Make the videos and caches that several parts use, once, by the real commands."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.gpu.parts import Place

COMMANDS = {"s2vc-prep": "s2vc.pipeline.cli", "s2vc-train": "s2vc.training.cli", "s2vc-eval": "s2vc.eval.cli"}

ALPHAS = ("0.1", "0.3", "0.5", "0.8")


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", f"from {COMMANDS[name]} import main; main()", *map(str, arguments)]


def call(name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> float:
    """Run a command to its end; return the seconds it took. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    print("$", name, *arguments, flush=True)
    subprocess.run(command(name, *arguments), check=True, env={**os.environ, **(environment or {})})
    return time.perf_counter() - started


def without_gpu() -> dict[str, str]:
    """Return the environment of a command that shall see no GPU."""
    return {"CUDA_VISIBLE_DEVICES": ""}


def draw_videos(place: Place) -> Path:
    """Draw the videos that are trained on, unless they are there; return their folder."""
    folder = place.work / "set"
    count = (1, 1) if place.tiny else (24, 4)
    frames = 12 if place.tiny else 40
    call("s2vc-prep", "sample", folder, "--per-class", count[0], "--test-per-class", count[1], "--test", "neutral",
         "--frames", frames)  # fmt: skip
    return folder


def encode(place: Place, cache: Path, *options: object, environment: Mapping[str, str] | None = None) -> float:
    """Encode the drawn videos into a cache, which is done once; return the seconds it took here."""
    folder = draw_videos(place)
    where = (folder / "manifest.csv", "--root", folder / "videos", "--out", cache)
    return call("s2vc-prep", "encode", *where, *options, environment=environment)


def training_cache(place: Place) -> Path:
    """Encode and render the drawn videos, unless they are; return the cache."""
    cache = place.work / "cache"
    encode(place, cache)
    call("s2vc-prep", "render", cache, *(word for alpha in ALPHAS for word in ("--alpha", alpha)))
    return cache
