"""Dense optical flow by Farneback's polynomial expansion (SCIA 2003), as in the paper (Fig. 7; supplement, Fig. 1).

The paper gives no parameters; these are those of OpenCV's examples, and stand here for all that looks at motion.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

FARNEBACK: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""Three levels of a pyramid, each half the size of the one below; three iterations on each; displacements averaged over
15x15 pixels, so that motion spreads by up to seven pixels beyond what moves; polynomials fitted to 5x5 pixels."""

MOVING_SPEED = 0.5
"""Pixels per frame, above which a pixel moves. Drawn objects over still backgrounds (`s2vc-prep demo`, 128x171): of the
pixels far from any object 1 in 10,000 is above it, of those of an object 83 %; the overlap of what is found with what
moves (0.54, intersection over union) is flat from 0.5 to 1.5. At 0.1, 14 % of the pixels are found where 7 % move."""

STILL_SPEED = 0.2
"""Pixels per frame, below which nothing can be told from rounding: between a frame and itself up to 0.15 are found."""


def optical_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where each pixel of a frame goes in the next: (H, W, 2) float32, x (right) and y (down) in pixels.

    before, after: (H, W, 3) uint8 RGB; of each the grey values are compared.
    """
    return _flow(_grey(before), _grey(after))


def speeds(frames: np.ndarray) -> Iterator[np.ndarray]:
    """How far each pixel moves from each frame to the next: T - 1 times (H, W) float32, pixels per frame, 0 or more.

    frames: (T, H, W, 3) uint8 RGB.
    """
    for before, after in pairwise(map(_grey, frames)):
        flow = _flow(before, after)
        yield np.hypot(flow[..., 0], flow[..., 1])


def _grey(frame: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def _flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.calcOpticalFlowFarneback(before, after, None, **FARNEBACK))  # type: ignore[call-overload]
