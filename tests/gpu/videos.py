"""Make the videos and caches that several questions use, once, by the real commands."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.gpu.parts import Place
from tests.gpu.processes import call

ALPHAS = ("0.1", "0.3", "0.5", "0.8")


def without_gpu() -> dict[str, str]:
    """Return the environment of a command that shall see no GPU."""
    return {"CUDA_VISIBLE_DEVICES": ""}


def once(place: Place, what: str, make: Callable[[], float], leftovers: Path | None = None) -> float:
    """Make something that is in the folder of work, unless an earlier part has; return the seconds it took then.

    leftovers: where a part that was killed may have made half of it, so that it would take less time now.
    """
    done = place.work / f"{what}.seconds"
    if not done.exists():
        if leftovers:
            shutil.rmtree(leftovers, ignore_errors=True)
        done.write_text(json.dumps(make()))
    return float(json.loads(done.read_text()))


def draw_videos(place: Place) -> Path:
    """Draw the videos that are encoded and trained on; return their folder."""
    folder = place.work / "set"
    count = (1, 1) if place.tiny else (16, 2)
    frames = 18 if place.tiny else 40  # compare-flows wants 16
    options = ("--per-class", count[0], "--test-per-class", count[1], "--test", "neutral", "--frames", frames)
    once(place, "set", lambda: call("s2vc-prep", "sample", folder, *options))
    return folder


def encode(place: Place, cache: Path, *options: object, environment: Mapping[str, str] | None = None) -> float:
    """Encode the drawn videos into a cache; return the seconds it took."""
    folder = draw_videos(place)
    where = (folder / "manifest.csv", "--root", folder / "videos", "--out", cache)
    make = partial(call, "s2vc-prep", "encode", *where, *options, environment=environment)
    return once(place, cache.name, make, cache)


def training_cache(place: Place) -> Path:
    """Encode and render the drawn videos; return the cache."""
    cache = place.work / "cache"
    encode(place, cache, "--device", place.device)
    render(place, cache)
    return cache


def render(place: Place, cache: Path) -> float:
    """Render all ALPHAS of a cache; return the seconds it took."""
    alphas = [word for alpha in ALPHAS for word in ("--alpha", alpha)]
    make = partial(call, "s2vc-prep", "render", cache, *alphas, "--device", place.device)
    return once(place, f"{cache.name}-rendered", make, cache / "motion")


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it is not so after {seconds:.0f} s")
        time.sleep(0.05)
