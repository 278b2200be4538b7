"""List what is asked of a GPU, in the order of its value."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Question = Callable[[], Any]
"""Computes a figure, or several in a dict, as JSON takes them."""


@dataclass(frozen=True)
class Place:
    """Says where a part computes. work: a folder that all parts share. out: the folder of what is taken home.
    device: as --device takes it. tiny: few frames and steps, to try the script itself. images: a file or folder of
    64x64 images to fit a flow to, None where there is none. seconds: as long as the part has in all."""

    work: Path
    out: Path
    device: str
    tiny: bool
    images: Path | None = None
    seconds: float = 600

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Part:
    """Describes a part. function: MODULE:NAME of a function that takes a Place and returns its questions by name; each
    is asked by itself. least_seconds: the part is not begun with less time left. most_seconds: it is killed then, so
    that one that hangs leaves time to the others."""

    function: str
    least_seconds: float
    most_seconds: float


def questions_of(function: str, place: Place) -> dict[str, Question]:
    """Return the questions of a part. Its module is imported now, so that a broken one fails alone."""
    return pkgutil.resolve_name(function)(place)  # type: ignore[no-any-return]


PARTS = {
    name: Part(f"tests.gpu.{function}", least, most)
    for name, function, least, most in (
        ("flow-speed", "flow_speed:flow_speed", 20, 60),
        ("gpu-tests", "commands:gpu_tests", 20, 60),
        ("cache-against-cpu", "cache_checks:cache_against_cpu", 40, 130),
        ("training-speed", "training_speed:training_speed", 40, 160),
        ("flow-profile", "flow_profile:flow_profile", 20, 40),
        ("encode-stages", "encode_stages:encode_stages", 20, 50),
        ("commands", "commands:every_command", 30, 180),
        ("kill-and-resume", "cache_checks:kill_and_resume", 30, 60),
        ("two-jobs", "cache_checks:two_jobs", 20, 60),
        ("compiled-flow", "flow_speed:compiled_flow", 40, 90),
        ("training-variations", "training_speed:training_variations", 30, 100),
        ("fit", "fit:fit", 190, 560),
    )
}
