"""List what is asked of a GPU, in the order of its value."""

import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Says where a part computes. work: a folder that all parts share. device: as --device takes it. tiny: few frames
    and steps, to try the script itself."""

    work: Path
    device: str
    tiny: bool

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Part:
    """Describes a part. function: MODULE:NAME in this package; it takes a Place. least_seconds: the part is not begun
    with less time left."""

    function: str
    least_seconds: float

    def ask(self, place: Place) -> dict[str, Any]:
        """Return the part's figures, ready for JSON. Its module is imported now, so that a broken one fails alone."""
        return pkgutil.resolve_name(f"tests.gpu.{self.function}")(place)  # type: ignore[no-any-return]


PARTS = {
    "flow-speed": Part("flow_speed:flow_speed", 30),
    "gpu-tests": Part("commands:gpu_tests", 30),
    "cache-against-cpu": Part("cache_checks:cache_against_cpu", 60),
    "training-speed": Part("training_speed:training_speed", 60),
    "commands": Part("commands:every_command", 60),
    "kill-and-resume": Part("cache_checks:kill_and_resume", 30),
    "two-jobs": Part("cache_checks:two_jobs", 30),
    "compiled-flow": Part("flow_speed:compiled_flow", 60),
    "training-variations": Part("training_speed:training_variations", 60),
    "fit": Part("commands:fit_published", 200),
}
