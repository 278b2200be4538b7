"""List what the study compares, and what was expected of it. The predictions were written before any run."""

from dataclasses import dataclass

from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

CLIP = ("--clip-length", "8", "--frame-step", "2")
"""Training, rendering and evaluation use clips of this length and step."""

TRAINING = ("--regime", "small", "--size", "48", "--batch", "40", "--pair", "same", "--precision", "float32", *CLIP)
"""All arms train with these options; docs/training.md describes the small regime."""

FULL = ("--key-augment", "full")
"""The colours of keys are changed as those of queries are; otherwise colour alone would identify a pair."""

WINDOWS = WindowRule("clip", int(CLIP[1]), int(CLIP[3]))
"""Masks are computed over the frames of a training clip, as in the paper, unless an arm says otherwise."""


@dataclass(frozen=True)
class Arm:
    """Describes one method that the study compares.

    name: for people. method: that of `s2vc-train`, or `random`, which is not trained. options: further ones of
    `s2vc-train`. variant: the variant that key clips are taken from. core: whether the short study has it, too.
    moving_camera: whether it is tested with moving cameras.
    """

    name: str
    method: str
    options: tuple[str, ...] = ()
    variant: Variant | None = None
    core: bool = False
    moving_camera: bool = False


def preserved(
    strategy: str = "zero",
    rule: WindowRule = WINDOWS,
    core: bool = False,
    moving_camera: bool = False,
    **point: float,
) -> Arm:
    """Return the arm of S²VC at an operating point, alpha or keep."""
    variant = Variant(strategy, **point, rule=rule)
    name = "S²VC, " + " ".join(f"{kind} {value:g}" for kind, value in point.items())
    name += "" if strategy == "zero" else f", {strategy}"
    name += ", one mask per video" if rule.scope == "video" else ""
    return Arm(name, "s2vc", FULL, variant, core, moving_camera)


ARMS = (
    Arm("random weights", "random", core=True),
    Arm("MoCo", "moco", FULL, core=True),
    preserved(alpha=0.5, core=True),
    Arm("MoCo, key cropped only", "moco", ("--key-augment", "crop")),
    preserved(alpha=0.1),
    preserved(alpha=0.3),
    preserved(alpha=0.7),
    preserved(alpha=0.9),
    preserved(alpha=0.5, rule=WindowRule("video")),
    preserved(keep=0.1, moving_camera=True),
    preserved("noise", keep=0.1),
    preserved("shuffle-clip", keep=0.1),
    preserved("shuffle-frame", keep=0.1),
    preserved("tfd", keep=0.1, moving_camera=True),
    preserved("random", keep=0.1),
    preserved("reverse", keep=0.1),
)

BASELINE, OURS = "MoCo", "S²VC, alpha 0.5"

PREDICTIONS = (
    "R@1 on motion rises with alpha to between 0.3 and 0.7 and falls by 0.9; 0.1 is as MoCo (Fig. 3).",
    "At one share kept: shuffle-clip as MoCo, zero highest; tfd as zero when the camera is still, below it when it "
    "moves (Table 4).",
    "A random mask is as MoCo, the reverse mask below it.",
)
