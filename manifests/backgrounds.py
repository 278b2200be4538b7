"""Photograph-like backgrounds that are drawn.

They are dead leaves (textured, shaded shapes with power-law radii hiding one another) over 1/f noise, the simplest
model with the statistics of photographs: occlusion edges at every scale, a 1/f amplitude spectrum and strongly
correlated colour channels.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]

LEAVES = 480  # So many shapes are painted one over the other in a background.

# The axes of natural colour (log scale) are luminance, yellow against blue, red against green (Ruderman 1998).
OPPONENT = np.array([[1, 1, 1], [0.5, 0.5, -1], [1, -1, 0]], dtype=np.float32)
# Nature paints large areas with these, on the last two: leaf, moss, straw, clay, bark, stone, slate, sea.
PIGMENTS = np.array([[45, -12], [28, -8], [40, 4], [38, 21], [22, 10], [8, 2], [-15, -4], [-32, -10]]) / 100


@dataclass(frozen=True)
class Scenery:
    """Holds what a background is painted with, at twice its size.

    palette: (n, 3) on the OPPONENT axes. grain: noise on the same axes, (2H, 2W, 3). leaf_style: see `_paint_leaf`.
    radii: of the smallest and the largest leaf, in pixels of the painting. leaves: their number.
    """

    palette: Floats
    grain: Floats
    leaf_style: list[float]
    radii: tuple[float, float]
    leaves: int = LEAVES


def draw_background(rng: Generator, size: tuple[int, int]) -> Bytes:
    """Draw a photograph-like still scene, uint8 (H, W, 3): leaves over noise."""
    height = 2 * size[0]
    hues = rng.choice(PIGMENTS, 3, replace=False)[rng.integers(3, size=6)]
    palette = np.column_stack([rng.normal(0, 0.75, 6), hues]).astype(np.float32)
    grain = draw_grain(rng, size)
    leaf_style = rng.uniform((-np.pi, -np.pi, 0.2, 1, 1.2), (np.pi, np.pi, 1.5, 3.5, 4)).tolist()
    return paint_background(rng, Scenery(palette, grain, leaf_style, (height / 36, height / 2.5)))


def draw_grain(rng: Generator, size: tuple[int, int], contrast: float = 0.6) -> Floats:
    """Draw noise on the OPPONENT axes at twice a size, (2H, 2W, 3). contrast: deviation of its luminance."""
    return np.dstack([amount * pink_noise(rng, (2 * size[0], 2 * size[1])) for amount in (contrast, 0.05, 0.03)])


def paint_background(rng: Generator, scenery: Scenery) -> Bytes:
    """Paint a background at twice its size and expose it: uint8 (H, W, 3)."""
    palette, grain, leaves = scenery.palette, scenery.grain, scenery.leaves
    canvas = palette[0] + 2 * grain
    # Radii with density r^-3 look alike at every scale, as sizes in photographs do.
    smallest, largest = scenery.radii
    radii = rng.uniform(largest**-2.0, smallest**-2.0, leaves) ** -0.5
    colours = palette[rng.integers(len(palette), size=leaves)] + rng.normal(0, (0.3, 0.05, 0.03), (leaves, 3))
    for place, (radius, colour) in enumerate(zip(radii.tolist(), colours.astype(np.float32), strict=True)):
        if place in (leaves // 3, leaves // 2):  # A lens blurs what lies behind the plane of focus.
            canvas = ndimage.gaussian_filter(canvas, (2, 2, 0))
        _paint_leaf(canvas, grain, scenery.leaf_style, radius, colour, rng)
    # It is exposed like a photograph: pixels average light, contrast is full, and the extremes roll off.
    height, width = canvas.shape[0] // 2, canvas.shape[1] // 2
    exposure = np.log(np.exp(canvas @ OPPONENT).reshape(height, 2, width, 2, 3).mean(axis=(1, 3)))
    low, high = np.percentile(exposure.mean(axis=-1), (2, 98))
    tone = np.tanh(1.2 * (2 * (exposure - low) / (high - low) - 1))
    return np.asarray(np.round(127.5 + 127.5 * tone), dtype=np.uint8)


def _paint_leaf(
    canvas: Floats, grain: Floats, leaf_style: list[float], radius: float, colour: Floats, rng: Generator
) -> None:
    """Paint one leaf, a shape with its own grain that is lit from one side, and its soft contact shadow.

    The leaves of a scene share a leaf_style: the direction of the light, the direction of their long axis and its
    deviation, their length over width, and the power of their superellipse (below 2 pointed, above 2 boxy).
    """
    light, turn, disorder, stretch, power = leaf_style
    height, width = canvas.shape[:2]
    centre_y, centre_x = height * rng.random(), width * rng.random()
    top, bottom = max(int(centre_y - 1.3 * radius), 0), min(int(centre_y + 1.3 * radius) + 1, height)
    left, right = max(int(centre_x - 1.3 * radius), 0), min(int(centre_x + 1.3 * radius) + 1, width)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] - centre_y) / radius
    x = (np.arange(left, right, dtype=np.float32) - centre_x) / radius
    along, across = rotated(x, y, turn + disorder * rng.normal())
    distance = np.abs(along) ** power + np.abs(stretch * rng.uniform(0.7, 1.3) * across) ** power
    box = canvas[top:bottom, left:right]
    box[..., 0] -= np.clip(1.3 - distance, 0, 0.3)
    cut_y, cut_x = rng.integers(height - len(y) + 1), rng.integers(width - len(x) + 1)
    leaf = grain[cut_y : cut_y + len(y), cut_x : cut_x + len(x)] * rng.uniform(0.7, 1.7) + colour
    leaf[..., 0] += 0.45 * rotated(x, y, light)[0] - 0.25 * distance
    np.copyto(box, leaf, where=(distance < 1)[..., None])


def pink_noise(rng: Generator, shape: tuple[int, int]) -> Floats:
    """Draw noise with a 1/f amplitude spectrum, mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / frequency, shape)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def rotated(first: Floats, second: Floats, angle: float) -> tuple[Floats, Floats]:
    """Express coordinates in axes that are rotated by an angle from the first towards the second."""
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * first + sin * second, cos * second - sin * first
