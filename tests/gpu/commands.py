"""Run every command that computes on the device, on a few videos, through the real command lines."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.gpu.parts import Place
from tests.gpu.videos import call, training_cache

IMAGES = Path(__file__).parents[3] / "shared" / "data" / "images64"
"""The flow is fitted on these images, or on the frames of the cache without them."""

FEW = ("--split", "split_neutral", "--size", 64, "--clip-length", 8, "--epochs", 2, "--batch", 8)


def every_command(place: Place) -> dict[str, Any]:
    """Return the seconds of each command, or the exit code where it failed."""
    cache, runs = training_cache(place), place.work / "runs"
    device = ("--device", place.device)
    trained = runs / "r3d18"
    train = ("s2vc-train", cache, "--alpha", 0.5, *FEW)
    lines: dict[str, tuple[object, ...]] = {
        "train, r3d18": (*train, "--out", trained, *device),
        "train, symmetric": (*train, "--negatives", "batch", "--symmetric", "--out", runs / "symmetric", *device),
        "train, s3d": (*train, "--backbone", "s3d", "--out", runs / "s3d", *device),
        "train, online": (*train, "--method", "s2vc-online", "--out", runs / "online", *device),
        "train, under Ray Train": (*train, "--workers", 1, "--out", runs / "ray"),
        "retrieval": ("s2vc-eval", "retrieval", cache, trained, "--out", place.work / "results", *device),
        "linear": ("s2vc-eval", "linear", cache, trained, "--epochs", 2, "--out", place.work / "results", *device),
        "fit-flow": (
            "s2vc-prep", "fit-flow", IMAGES if IMAGES.exists() else cache, "--minutes", 0.2, "--out",
            place.work / "small.safetensors", *device,
        ),
        "flow-info": ("s2vc-prep", "flow-info", "default", *device),
    }  # fmt: skip
    return {what: tried(line) for what, line in lines.items()}


def tried(line: tuple[object, ...]) -> dict[str, float]:
    try:
        return {"seconds": call(str(line[0]), *line[1:])}
    except subprocess.CalledProcessError as error:
        return {"code": error.returncode}


def gpu_tests(place: Place) -> dict[str, Any]:
    """Run the tests that are marked gpu; return the exit code of pytest and what it says last."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return {"code": done.returncode, "said": done.stdout[-2000:]}


def fit_published(place: Place) -> dict[str, Any]:
    """Fit the published architecture for three minutes, and go on with what an earlier call has fitted; return where
    the flow lies, for `compare-flows`."""
    out = place.work / "published.safetensors"
    images = IMAGES if IMAGES.exists() else training_cache(place)
    minutes = 0.1 if place.tiny else 3
    given = ("--hidden", 8 if place.tiny else 128, "--minutes", minutes, "--out", out, "--device", place.device)
    return {"seconds": call("s2vc-prep", "fit-flow", images, *given), "flow": str(out)}
