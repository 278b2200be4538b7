"""The clips that each backbone takes, by its name: plain values, which a command line shows at once."""

from typing import NamedTuple


class ClipShape(NamedTuple):
    """Holds a backbone's default clips: `frames`, `frame_step` apart, of `size` x `size` pixels; and the fewest frames,
    `shortest`, that leave features which have a variance."""

    frames: int
    frame_step: int
    size: int
    shortest: int = 2


CLIP_SHAPES = {
    "r3d18": ClipShape(16, 1, 112),
    "s3d": ClipShape(32, 1, 128, shortest=5),  # Its pooling leaves nothing of shorter ones.
    "r2d3d18": ClipShape(40, 3, 128, shortest=5),  # One value of a small frame has no variance.
    "r3d18a": ClipShape(16, 1, 112),
    "r3d50": ClipShape(16, 1, 112),
    "r2plus1d18": ClipShape(16, 1, 112),
    "r3d18tv": ClipShape(16, 1, 112),
    "slow_r50": ClipShape(8, 8, 224),
}
"""Those of r3d18 and s3d are the paper's, those of r2d3d18 DPC's, whose classifier, too, takes 8 blocks of 5 frames.
Those of the others are what their published weights were trained on; but torchvision's were trained on videos of 15
frames a second, which is a step of 2 at 30."""

CLIP_LENGTHS = {name: shape.frames for name, shape in CLIP_SHAPES.items()}
FRAME_STEPS = {name: shape.frame_step for name, shape in CLIP_SHAPES.items()}
SIZES = {name: shape.size for name, shape in CLIP_SHAPES.items()}
SHORTEST_CLIPS = {name: shape.shortest for name, shape in CLIP_SHAPES.items()}

MIN_SIZE, MAX_SIZE = 32, 1024
"""Both are in pixels."""
