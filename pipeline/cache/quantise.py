"""Latents are stored in one of three kinds; q8 stores whole steps, whose size each frame has for itself.

A step is a power of two, the same for all latents of a frame. Measured on real clips with the built-in flow, steps that
follow how far each latent moves a pixel make the file an eighth smaller at the same pixel error, but more masks flip
near alpha; dither costs bytes and saves no mask.
"""

import numpy as np

FLOAT32, FLOAT16, Q8 = KINDS = ("float32", "float16", "q8")
"""Latents are stored as the flow gave them, rounded to 16 bits (the default), or in whole steps of 8 bits."""

STEP = 2.0**-3
"""Nearly every frame has this step, since latents of a fitted flow have about unit variance."""

WIDEST_STEP = 2.0**9
"""No step is wider. Latents beyond 127 of these, about the largest number in float16, are clipped."""

LARGEST = 127


def quantise(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (n, D) int8 and the step of each frame (n,) float32; z (n, D) float32 is about steps · step.

    The step is 1/8, doubled as often as the frame's largest latent needs to fit 127 steps (real clips stay below 16,
    test patterns may not). So nothing is cut off, up to WIDEST_STEP, and no latent is off by more than half a step.
    Raises ValueError if z is not a number.
    """
    peak = np.abs(z).max(axis=1, initial=0.0)
    if np.isnan(peak).any():
        raise ValueError("the flow gave latents that are not numbers")
    # The step is the smallest power of two above peak / 127.5, since less than 127.5 steps round to at most 127.
    _, exponent = np.frexp(np.clip(peak.astype(np.float64), STEP, LARGEST * WIDEST_STEP) / (LARGEST + 0.5))
    step = np.clip(np.ldexp(1.0, exponent), STEP, WIDEST_STEP).astype(np.float32)
    steps = np.rint(z / step[:, None]).clip(-LARGEST, LARGEST).astype(np.int8)
    return steps, step


def dequantise(steps: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return z (n, D) float16, exactly the product of steps (n, D) int8 and the step of each frame (n,) float32."""
    return steps.astype(np.float16) * step.astype(np.float16)[:, None]
