"""Dense optical flow by Farneback's polynomial expansion (SCIA 2003), as in the paper (Fig. 7; supplement, Fig. 1).

The paper gives no parameters; these are those of OpenCV's examples, and serve everything that looks at motion.
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
"""The pyramid has three levels, each half the size of the one below, with three iterations on each. Displacements are
averaged over 15x15 pixels, so that motion spreads by up to seven pixels. Polynomials are fitted to 5x5 pixels."""


STILL_SPEED = 0.2
"""A speed below this, in pixels per frame, may be rounding: between a frame and itself up to 0.15 are found."""


def optical_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Find where each pixel of a frame goes in the next: (H, W, 2) float32, x (right) and y (down) in pixels.

    before, after: (H, W, 3) uint8 RGB, whose grey values are compared.
    """
    return _flow(_grey(before), _grey(after))


def speeds(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Find how far each pixel moves from each frame to the next: T - 1 times (H, W) float32, pixels per frame, 0 or
    more.
    frames: (T, H, W, 3) uint8 RGB."""
    for before, after in pairwise(map(_grey, frames)):
        flow = _flow(before, after)
        yield np.hypot(flow[..., 0], flow[..., 1])


def _grey(frame: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def _flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.calcOpticalFlowFarneback(before, after, None, **FARNEBACK))  # type: ignore[call-overload]
