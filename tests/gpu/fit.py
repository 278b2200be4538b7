"""Fit the published architecture for as long as there is time, compare it, and write it into files that can be taken
home and gone on from."""

import csv
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from s2vc.pipeline.flow import Architecture, Flow, load_flow, save_flow
from tests.gpu.parts import Place, Question
from tests.gpu.processes import call
from tests.gpu.videos import training_cache

NOISES = (0.02, 0.04)
"""Published, and twice that, from which masks should be steadier under compression."""
PART_BYTES = 15 * 2**20
"""Files that are taken home are no larger: `cat NAME.safetensors.? > NAME.safetensors` joins them."""
OVERHEAD = 100
"""So many seconds of a part are for reading images, judging and comparing; the fits share the rest."""
LEAST_MINUTES = 0.5


def fit(place: Place) -> dict[str, Question]:
    """Ask for the fits, one after another, each from the one before or from an earlier call's, and the comparison with
    the built-in flows."""
    deadline = time.monotonic() + place.seconds - OVERHEAD
    questions: dict[str, Question] = {}
    for left, noise in zip(range(len(NOISES), 0, -1), NOISES, strict=True):
        questions[f"fit at noise {noise:g}"] = partial(fitted, place, noise, deadline, left)
    questions["compare-flows"] = lambda: compared(place)
    return questions


def fitted(place: Place, noise: float, deadline: float, left: int) -> dict[str, Any]:
    """Fit for this one's share of the time and write the flow. Returns where its images were from and where it lies.

    Raises TimeoutError where too little time is left.
    """
    minutes = 0.1 if place.tiny else (deadline - time.monotonic()) / 60 / left
    if minutes < LEAST_MINUTES and not place.tiny:
        raise TimeoutError(f"{minutes:.1f} minutes are left for it")
    images = place.images or training_cache(place)
    before = starting_flow(place, noise)
    out = place.work / "fits" / f"{name_of(noise)}.safetensors"
    shutil.rmtree(out.parent, ignore_errors=True)  # a fit that was killed, of other images or another length
    out.parent.mkdir(parents=True)
    given = ["--minutes", round(minutes, 2), "--noise", noise, "--out", out, "--device", place.device]
    if before:
        given += ["--init", before]
    else:
        architecture = Architecture(hidden=8, width=8) if place.tiny else Architecture()
        given += ["--hidden", architecture.hidden, "--width", architecture.width]
    seconds = call("s2vc-prep", "fit-flow", images, *given, limit=60 * minutes + OVERHEAD + 60)
    files = write_home(out, place.out)
    return {
        "images": f"{images}{'' if place.images else ', frames of drawn toys: a trial, and no flow for use'}",
        "from": before.name if before else "new weights",
        "minutes": minutes,
        "seconds": seconds,
        "steps": last_step(out.with_suffix(".csv")),
        "files": [file.name for file in files],
    }


def name_of(noise: float) -> str:
    return f"published-noise{noise:g}"


def starting_flow(place: Place, first: float) -> Path | None:
    """Return the flow that was fitted with this noise in an earlier call, whose files lie in the folder of OUT, else
    one that was fitted with another; None where there is none."""
    for noise in (first, *reversed(NOISES)):
        joined = place.work / f"{name_of(noise)}.safetensors"
        parts = sorted(place.out.glob(f"{joined.name}.*"))
        if parts:
            joined.write_bytes(b"".join(part.read_bytes() for part in parts))
            return joined
    return None


def write_home(flow: Path, folder: Path) -> list[Path]:
    """Write a flow in float16, which is half the size, in parts of PART_BYTES; return them.

    A later fit goes on from it by --init: the moments of its optimizer, twice the size of the weights in float32, are
    found again in the warm-up.
    """
    small = folder / f"{flow.name}.float16"
    save_flow(rounded(load_flow(flow)), small)
    content = small.read_bytes()
    small.unlink()
    for old in folder.glob(f"{flow.name}.*"):
        old.unlink()
    files = []
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        files.append(folder / f"{flow.name}.{number}")
        files[-1].write_bytes(content[start : start + PART_BYTES])
    return files


@torch.no_grad()
def rounded(flow: Flow) -> Flow:
    """Round the weights of a flow to float16, in which they are stored then. Its fixed rotations are weights, too."""
    for tensor in flow.state_dict().values():
        tensor.copy_(tensor.half().float())
    return flow


def last_step(steps: Path) -> dict[str, str]:
    """Return the last row of a fit's steps."""
    with steps.open(newline="") as file:
        return list(csv.DictReader(file))[-1]


def compared(place: Place) -> dict[str, Any]:
    """Compare what is taken home with the built-in flows on the videos that were drawn; return the table's rows."""
    flows = []
    for noise in NOISES:
        joined = place.work / f"compared-{name_of(noise)}.safetensors"
        if parts := sorted(place.out.glob(f"{name_of(noise)}.safetensors.*")):
            joined.write_bytes(b"".join(part.read_bytes() for part in parts))
            flows.append(joined)
    if not flows:
        raise FileNotFoundError("no flow was fitted")
    out = place.work / "flows"
    options = ("--videos", 2 if place.tiny else 12, "--out", out, "--device", place.device)
    seconds = call("s2vc-prep", "compare-flows", "default", "steady", *flows, "--on", training_cache(place), *options)
    with (out / "flows.csv").open(newline="") as file:
        return {"seconds": seconds, "flows": list(csv.DictReader(file))}
