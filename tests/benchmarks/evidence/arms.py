"""List what the study compares, and what was expected of it. The predictions were written before any run."""

from dataclasses import dataclass

from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

SIZE = ("--size", "48")
"""Clips of training, and windows of evaluation, have this height and width in pixels."""

CLIP = ("--clip-length", "8", "--frame-step", "2")
"""Training and rendering use clips of this length and step, except those of dense predictive coding."""

TRAINING = ("--regime", "small", *SIZE, "--batch", "40", "--precision", "float32")
"""All arms train with these options; docs/training.md describes the small regime."""

PAIR = (*CLIP, "--pair", "same", "--head", "mlp")
"""Query and key have the same frames."""

FULL = (*PAIR, "--key-augment", "full")
"""The colours of keys are changed as those of queries are; otherwise colour alone would identify a pair."""

BOTH = (*FULL, "--symmetric")
"""Both clips of a pair are queries, so that a step has twice the work."""

DPC_CLIP = ("--blocks", "4", "--predicted", "1", "--frame-step", "1")
"""Dense predictive coding takes 4 blocks of 5 frames, the longest clip that the videos have room for."""

WINDOWS = WindowRule("clip", int(CLIP[1]), int(CLIP[3]))
"""Masks are computed over the frames of a training clip, as in the paper, unless an arm says otherwise."""
DPC_WINDOWS = WindowRule("clip", 20)

OTHER_FLOWS = ("untrained", "steady")
ORACLE = "oracle"
"""The oracle's key clips are the originals without their background, which the drawn masks tell; see oracle.py."""


@dataclass(frozen=True)
class Arm:
    """Describes one method that the study compares.

    name: for people. method: that of `s2vc-train`, or `random`, which is not trained. options: further ones of
    `s2vc-train`. variant: the variant that key clips are taken from. core: whether it is one of those compared
    first. moving_camera: whether it is tested with moving cameras. source: of the cache, `` as a rule, else one of
    OTHER_FLOWS, or ORACLE. window: frames and step of the windows whose features are computed.
    """

    name: str
    method: str
    options: tuple[str, ...] = ()
    variant: Variant | None = None
    core: bool = False
    moving_camera: bool = False
    source: str = ""
    window: tuple[str, str] = (CLIP[1], CLIP[3])


def preserved(
    strategy: str = "zero",
    rule: WindowRule = WINDOWS,
    core: bool = False,
    moving_camera: bool = False,
    source: str = "",
    symmetric: bool = True,
    **point: float,
) -> Arm:
    """Return the arm of S²VC at an operating point, alpha or keep; symmetric: both clips are queries."""
    variant = Variant(strategy, **point, rule=rule)
    name = "S²VC, " + " ".join(f"{kind} {value:g}" for kind, value in point.items())
    name += "" if strategy == "zero" else f", {strategy}"
    name += ", one mask per video" if rule.scope == "video" else ""
    name += f", {source} flow" if source in OTHER_FLOWS else ""
    name += ", symmetric" if symmetric else ""
    return Arm(name, "s2vc", BOTH if symmetric else FULL, variant, core, moving_camera, source)


ARMS = (
    Arm("random weights", "random", core=True),
    Arm("MoCo", "moco", FULL, core=True),
    preserved(alpha=0.5, core=True, symmetric=False),
    Arm("supervised on motion", "supervised", CLIP),
    preserved(alpha=0.1, symmetric=False),
    Arm("MoCo, key cropped only", "moco", (*PAIR, "--key-augment", "crop")),
    Arm("DPC", "dpc", DPC_CLIP, window=("20", "1")),
    Arm(
        "DPC + S²VC, alpha 0.5",
        "dpc-s2vc",
        DPC_CLIP,
        Variant(alpha=0.5, rule=DPC_WINDOWS),
        window=("20", "1"),
    ),
)
"""Their queries are original clips alone, as in eq. 6."""

SYMMETRIC_ARMS = (
    Arm("MoCo, symmetric", "moco", BOTH),
    preserved(alpha=0.5),
    Arm("oracle, background removed, symmetric", "s2vc", BOTH, Variant(keep=1.0), source=ORACLE),
    preserved(alpha=0.9),
    preserved(alpha=0.1),
    preserved(alpha=0.3),
    preserved(alpha=0.7),
    preserved(keep=0.1, moving_camera=True),
    preserved("random", keep=0.1),
    preserved("reverse", keep=0.1),
    preserved("tfd", keep=0.1, moving_camera=True),
    preserved("shuffle-clip", keep=0.1),
    preserved("shuffle-frame", keep=0.1),
    preserved("noise", keep=0.1),
    preserved(keep=0.1, source="untrained"),
    preserved(keep=0.1, source="steady"),
    preserved(alpha=0.5, rule=WindowRule("video")),
    Arm("S²VC online, alpha 0.5, symmetric", "s2vc-online", ("--alpha", "0.5", *BOTH)),
)
"""Key clips are queries, too. The parts of the method are compared so, since an asymmetric run of this length often
loses what it has learned, whatever its keys are. Before any of these runs it was decided that a linear classifier of
motions compares them, since it told more than nearest neighbours in LONG_ARMS."""

LONG_ARMS = (
    Arm("MoCo, symmetric, twice the steps", "moco", BOTH),
    Arm("S²VC, alpha 0.5, symmetric, twice the steps", "s2vc", BOTH, preserved(alpha=0.5).variant),
)
"""These are compared at RHO 0."""

GROUPS = {"MoCo": ARMS, "MoCo, symmetric": SYMMETRIC_ARMS, LONG_ARMS[0].name: LONG_ARMS}
"""Arms by the one that they are compared with, which was trained as they were."""


def baseline_of(name: str) -> str:
    """Return the name of the arm that an arm is compared with. Raises KeyError for a name that no arm has."""
    return {arm.name: baseline for baseline, arms in GROUPS.items() for arm in arms}[name]


PREDICTIONS = (
    "R@1 on motion rises with alpha to between 0.3 and 0.7 and falls by 0.9; 0.1 is as MoCo (Fig. 3).",
    "At one share kept: shuffle-clip as MoCo, zero highest; tfd as zero when the camera is still, below it when it "
    "moves (Table 4).",
    "A random mask is as MoCo, the reverse mask below it. The oracle is the upper bound. An untrained flow is below "
    "the trained one.",
    "The flow in the training loop (s2vc-online) equals cached clips within the interval.",
    "S²VC has a smaller bias gap (matched less swapped) than supervised training at RHO 0.9, and tells the order of "
    "frames better (Fig. 1).",
    "S²VC adds to dense predictive coding (supplement, Table 1).",
)
