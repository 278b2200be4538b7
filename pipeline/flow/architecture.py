"""Widths and depths of a flow, the sizes of what it maps, and its precisions, none of which takes torch to be known."""

from dataclasses import asdict, dataclass

SMALL = 64
"""The flow takes frames of this height and width, in pixels."""
IMAGE_SHAPE = (3, SMALL, SMALL)

SQUEEZED_SHAPE = (12, 32, 32)
"""An image has this shape once 2x2 pixels have become channels."""

LATENTS = 3 * 64 * 64
"""A frame has this many latents, 12,288: d = C H' W' of the paper."""

DEEP_LATENTS = LATENTS // 4
"""This many latents, the first ones, go through the fully connected couplings as well."""

MAX_WIDTH, MAX_BLOCKS = 4096, 64
DTYPES = ("float32", "bfloat16")

CENTRED = "bfloat16-centred"

PRECISIONS = (*DTYPES, CENTRED)
"""The subnets compute in one of these at inference; for the last, see `Flow.for_inference`. A cache records its own."""


@dataclass(frozen=True)
class Architecture:
    """This holds widths and depths of a flow; the defaults are the published ones (14.2 GFLOP a frame each way)."""

    hidden: int = 128
    """The convolutional subnets have this many channels inside."""
    width: int = 128
    """The fully connected subnets have this many units inside."""
    high_blocks: int = 4
    """There are this many couplings at 64x64 with 3 channels."""
    low_blocks: int = 6
    """There are this many pairs of fixed convolution and coupling at 32x32 with 12 channels."""
    deep_blocks: int = 6
    """There are this many fully connected couplings, on the first quarter of the latents."""

    def __post_init__(self) -> None:
        # The bounds guard against foreign files: a flow is built before its weights are compared with it.
        for name, value in asdict(self).items():
            if type(value) is not int or not 1 <= value <= (MAX_BLOCKS if "blocks" in name else MAX_WIDTH):
                raise ValueError(f"{name} of a flow cannot be {value!r}")

    @property
    def least_weights(self) -> int:
        """A flow of this architecture has at least the weights of its widest layers, with two subnets to a coupling."""
        convolutions = 2 * (self.high_blocks + self.low_blocks) * 9 * self.hidden**2
        return convolutions + 2 * self.deep_blocks * (2 * self.width**2 + LATENTS // 8 * self.width)


SMALL_FLOW = Architecture(hidden=32, width=64)
"""The built-in flows have this architecture (1.05 GFLOP a frame each way)."""


class FlowFileError(ValueError):
    """The file holds no flow that this project can run; the message says why, in one line."""
