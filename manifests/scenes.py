"""Twelve families of still, photograph-like backgrounds: in each, what is painted is of one kind, and never the same.

A family fixes what the eye knows a place by: the hues, the leaves' long axis and how strictly they keep to it, their
shape and size, and the grain. The rest is drawn anew: which leaf lies where, light and shade, the exposure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from s2vc.manifests.backgrounds import LEAVES, Bytes, Scenery, draw_grain, paint_background

PALETTE_SIZE = 6
"""A scene has so many colours, of the family's hues in turn."""

USUAL_SHAPE = 4 / 3
"""LEAVES leaves are painted at this width over height; a wider canvas gets more."""


@dataclass(frozen=True)
class Family:
    """Describes one kind of background.

    hues: pairs (yellow against blue, red against green) on the OPPONENT axes. turn, disorder: direction of the leaves'
    long axis, from the right towards the bottom, and its deviation, in radians. stretch: length over width. power: of
    their superellipse, below 2 pointed, above 2 boxy. radii: of the smallest and the largest, in heights of the frame.
    grain: deviation of the luminance of their surface.
    """

    hues: tuple[tuple[float, float], ...]
    turn: float
    disorder: float
    stretch: float
    power: float
    radii: tuple[float, float]
    grain: float


ANY_DIRECTION = 3.0
"""After such a deviation no direction is left."""

FAMILIES: dict[str, Family] = {
    "bricks": Family(((0.36, 0.24), (0.28, 0.28), (0.22, 0.14)), 0.0, 0.04, 2.2, 7.0, (0.07, 0.16), 0.5),
    "dunes": Family(((0.50, 0.10), (0.42, 0.05), (0.56, 0.12)), 0.3, 0.1, 3.5, 2.0, (0.12, 0.6), 0.25),
    "dusk": Family(((-0.10, 0.30), (0.05, 0.34), (-0.24, 0.20)), 0.0, 0.12, 3.5, 2.0, (0.1, 0.5), 0.25),
    "forest": Family(((0.38, -0.06), (0.26, -0.10), (0.20, 0.02)), 0.0, ANY_DIRECTION, 1.6, 1.3, (0.025, 0.16), 0.8),
    "gravel": Family(((0.06, 0.02), (0.00, 0.00), (0.12, 0.04)), 0.0, ANY_DIRECTION, 1.0, 2.2, (0.035, 0.1), 0.6),
    "ice": Family(((-0.20, -0.06), (-0.12, -0.02), (-0.26, -0.08)), 0.0, ANY_DIRECTION, 1.3, 1.0, (0.1, 0.45), 0.3),
    "meadow": Family(((0.52, -0.22), (0.44, -0.18), (0.58, -0.12)), np.pi / 2, 0.2, 3.5, 1.4, (0.03, 0.16), 0.7),
    "moss": Family(((0.20, -0.30), (0.30, -0.34), (0.12, -0.22)), 0.0, ANY_DIRECTION, 1.0, 2.0, (0.05, 0.35), 0.9),
    "petals": Family(((0.16, 0.44), (0.28, 0.40), (0.06, 0.36)), 0.0, ANY_DIRECTION, 1.8, 1.8, (0.05, 0.2), 0.3),
    "sea": Family(((-0.36, -0.18), (-0.28, -0.22), (-0.42, -0.10)), 0.0, 0.1, 3.5, 1.6, (0.04, 0.22), 0.5),
    "slate": Family(((-0.18, 0.06), (-0.10, 0.06), (-0.24, 0.04)), -np.pi / 4, 0.06, 2.4, 5.0, (0.08, 0.35), 0.5),
    "timber": Family(((0.24, 0.10), (0.17, 0.07), (0.31, 0.13)), np.pi / 2, 0.03, 3.5, 6.0, (0.12, 0.5), 0.5),
}

SCENES = tuple(FAMILIES)
"""They are in the order of their names."""


def draw_scene(scene: str, size: tuple[int, int], unit: int, rng: Generator) -> Bytes:
    """Draw a background of a family, uint8 (H, W, 3). unit: the height in pixels that its leaves are measured by."""
    family = FAMILIES[scene]
    hues = np.array(family.hues)[np.arange(PALETTE_SIZE) % len(family.hues)] + rng.normal(0, 0.02, (PALETTE_SIZE, 2))
    palette = np.column_stack([rng.normal(0, 0.75, PALETTE_SIZE), hues]).astype(np.float32)
    grain = draw_grain(rng, size, family.grain)
    turn = family.turn + rng.normal(0, 0.06)
    leaf_style = [rng.uniform(-np.pi, np.pi), turn, family.disorder, family.stretch, family.power]
    smallest, largest = (2 * unit * radius for radius in family.radii)
    leaves = round(LEAVES * size[0] * size[1] / (USUAL_SHAPE * unit**2))
    return paint_background(rng, Scenery(palette, grain, leaf_style, (smallest, largest), leaves))
