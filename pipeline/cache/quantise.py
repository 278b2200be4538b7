"""How latents are stored, and q8 of it: whole numbers of steps, the step a power of two each frame has for itself.

Measured on real clips with the built-in flow: where the steps follow how far each latent moves a pixel, the file is an
eighth smaller at the same pixel error, but more masks flip near alpha; dither costs bytes and saves no mask. So a
step is the same for all latents of a frame.
"""

import numpy as np

FLOAT32, FLOAT16, Q8 = KINDS = ("float32", "float16", "q8")
"""As the flow gave them, rounded to 16 bits (the default), or in whole steps of 8 bits."""

STEP = 2.0**-3
"""The step of nearly every frame: latents of a fitted flow have about unit variance."""

WIDEST_STEP = 2.0**9
"""Beyond 127 of these, which is past what float16 can hold, latents are clipped."""

LARGEST = 127


def quantise(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z (n, D) float32 -> steps (n, D) int8 and the step of each frame (n,) float32; z is about steps · step.

    The step is 1/8, doubled as often as the frame's largest latent needs to fit 127 steps (real clips stay below 16,
    test patterns may not), so that nothing is cut off and no latent is off by more than half a step.
    Raises ValueError where z is not a number.
    """
    peak = np.abs(z).max(axis=1, initial=0.0)
    if np.isnan(peak).any():
        raise ValueError("the flow gave latents that are not numbers")
    # The smallest power of two above peak / 127.5, which is what still rounds to 127.
    _, exponent = np.frexp(np.clip(peak.astype(np.float64), STEP, LARGEST * WIDEST_STEP) / (LARGEST + 0.5))
    step = np.clip(np.ldexp(1.0, exponent), STEP, WIDEST_STEP).astype(np.float32)
    steps = np.rint(z / step[:, None]).clip(-LARGEST, LARGEST).astype(np.int8)
    return steps, step


def dequantise(steps: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Steps (n, D) int8, the step of each frame (n,) float32 -> z (n, D) float16, exactly their product."""
    return steps.astype(np.float16) * step.astype(np.float16)[:, None]
