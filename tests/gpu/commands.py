"""Run every command that computes on the device, on a few videos, through the real command lines."""

import sys
from functools import partial
from pathlib import Path

from tests.gpu.parts import Place, Question
from tests.gpu.processes import call, run
from tests.gpu.videos import training_cache

FEW = ("--split", "split_neutral", "--size", 64, "--clip-length", 8, "--epochs", 2, "--batch", 8)


def every_command(place: Place) -> dict[str, Question]:
    """Ask for the seconds of each command; one that fails is an error with the end of what it printed."""
    cache, runs = place.work / "cache", place.work / "runs"
    device = ("--device", place.device)
    trained = runs / "r3d18"
    train = ("s2vc-train", cache, "--alpha", 0.5, *FEW)
    results = ("--out", place.work / "results")
    lines: dict[str, tuple[object, ...]] = {
        "train, under Ray Train": (*train, "--workers", 1, "--out", runs / "ray"),
        "demo": ("s2vc-prep", "demo", "--out", place.work / "demo", *device),
        "train, r3d18": (*train, "--out", trained, *device),
        "train, s3d": (*train, "--backbone", "s3d", "--out", runs / "s3d", *device),
        "retrieval": ("s2vc-eval", "retrieval", cache, trained, *results, *device),
        "linear": ("s2vc-eval", "linear", cache, trained, "--epochs", 2, *results, *device),
        "train, online": (*train, "--method", "s2vc-online", "--out", runs / "online", *device),
        "train, symmetric": (*train, "--negatives", "batch", "--symmetric", "--out", runs / "symmetric", *device),
        "fit-flow": (
            "s2vc-prep", "fit-flow", cache, "--minutes", 0.1, "--out", place.work / "small.safetensors", *device,
        ),
        "flow-info": ("s2vc-prep", "flow-info", "default", *device),
    }  # fmt: skip
    return {what: partial(seconds_of, place, line) for what, line in lines.items()}


def seconds_of(place: Place, line: tuple[object, ...]) -> dict[str, float]:
    training_cache(place)
    return {"seconds": call(str(line[0]), *line[1:])}


def gpu_tests(place: Place) -> dict[str, Question]:
    """Ask whether the tests that are marked gpu pass, and for what pytest says last."""
    return {"pytest -m gpu": lambda: pytest_says(place)}


def pytest_says(place: Place) -> dict[str, object]:
    here = Path(__file__).parent
    options = (
        "-q",
        "-m",
        "gpu",
        "-W",
        "default",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "--rootdir",
        here.parents[1],
    )
    seconds, said = run([sys.executable, "-m", "pytest", *map(str, options), str(here)], "pytest -m gpu")
    return {"seconds": seconds, "said": said[-600:]}
