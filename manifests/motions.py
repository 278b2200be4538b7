"""Twelve ways of moving that no single moment tells apart.

A pose has four coordinates: centre y, centre x, angle and log area. Each lives on a circle: the angle on its own, the
others on one twice as long as their range, folded back into it as light is between two mirrors. A motion starts
anywhere on these circles, uniformly, and goes on by a displacement that does not know where it started. So at every
moment, and for every motion, the pose has the same law: uniform over the range of centres, all angles, and the log
areas; only how poses follow one another differs. (A uniform start plus an independent displacement is uniform on a
circle, and the fold maps that law to the uniform one.) The fold also mirrors each coordinate half of the time.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from s2vc.manifests.backgrounds import Floats
from s2vc.manifests.sample import triangle

AREA = (0.035, 0.075)
"""An object covers such a share of the frame, from the smallest to the largest."""

_LOG_AREAS = np.log(AREA)
_HALF_LOG_AREA = float(np.diff(_LOG_AREAS)[0]) / 2

Displacement = Callable[[Floats, Generator], dict[str, Floats]]
"""It gives, at times (T,) in seconds, how far from the start each coordinate is that changes, (T,): `y`, `x` in shorter
sides of the frame, `angle` in radians, `area` as a logarithm. Its frequencies are in Hz: 0.6 s show about a period."""


def _slide(time: Floats, rng: Generator) -> dict[str, Floats]:
    return {"x": rng.uniform(0.42, 0.77) * time}


def _climb(time: Floats, rng: Generator) -> dict[str, Floats]:
    return {"y": rng.uniform(0.35, 0.63) * time}


def _diagonal(time: Floats, rng: Generator) -> dict[str, Floats]:
    speed, slope = rng.uniform(0.42, 0.77), rng.uniform(0.2, 0.3) * np.pi
    return {"y": speed * np.sin(slope) * time, "x": speed * np.cos(slope) * time}


def _orbit(time: Floats, rng: Generator) -> dict[str, Floats]:
    radius, turn = rng.uniform(0.063, 0.098), _phase(time, rng, 1.4, 2.0)
    return {"y": radius * np.sin(turn), "x": radius * np.cos(turn)}


def _eight(time: Floats, rng: Generator) -> dict[str, Floats]:
    turn = _phase(time, rng, 1.1, 1.6)
    return {"y": rng.uniform(0.056, 0.077) * np.sin(2 * turn), "x": rng.uniform(0.098, 0.14) * np.sin(turn)}


def _swing(time: Floats, rng: Generator) -> dict[str, Floats]:
    return {"x": rng.uniform(0.063, 0.105) * np.sin(_phase(time, rng, 1.7, 2.5))}


def _bounce(time: Floats, rng: Generator) -> dict[str, Floats]:
    """Move along parabolas, one after another, as a ball does; half of the time they are mirrored."""
    fall = _phase(time, rng, 1.7, 2.5) / np.pi % 2 - 1
    return {"y": rng.uniform(0.14, 0.224) * fall**2}


def _zigzag(time: Floats, rng: Generator) -> dict[str, Floats]:
    sides = rng.uniform(0.063, 0.091) * triangle(_phase(time, rng, 1.8, 2.6) / (2 * np.pi))
    return {"y": sides, "x": rng.uniform(0.35, 0.56) * time}


def _hop(time: Floats, rng: Generator) -> dict[str, Floats]:
    """Move in some direction by jumps, with a rest after each."""
    beat = _phase(time, rng, 1.7, 2.4) / (2 * np.pi)
    jump = np.clip((beat % 1) / 0.35, 0, 1)
    distance = rng.uniform(0.168, 0.28) * (np.floor(beat) + jump**2 * (3 - 2 * jump))
    direction = rng.uniform(0, 2 * np.pi)
    return {"y": distance * np.sin(direction), "x": distance * np.cos(direction)}


def _spin(time: Floats, rng: Generator) -> dict[str, Floats]:
    return {"angle": rng.choice((-1, 1)) * rng.uniform(0.5, 1.0) * 2 * np.pi * time}


def _rock(time: Floats, rng: Generator) -> dict[str, Floats]:
    return {"angle": rng.uniform(0.45, 0.8) * np.sin(_phase(time, rng, 1.7, 2.5))}


def _pulse(time: Floats, rng: Generator) -> dict[str, Floats]:
    """Grow at a constant rate; the fold makes of it a swelling and a shrinking between smallest and largest."""
    return {"area": 4 * _HALF_LOG_AREA * rng.uniform(1.5, 2.3) * time}


_DISPLACEMENTS: dict[str, Displacement] = {
    "bounce": _bounce,
    "climb": _climb,
    "diagonal": _diagonal,
    "eight": _eight,
    "hop": _hop,
    "orbit": _orbit,
    "pulse": _pulse,
    "rock": _rock,
    "slide": _slide,
    "spin": _spin,
    "swing": _swing,
    "zigzag": _zigzag,
}

MOTIONS = tuple(_DISPLACEMENTS)
"""They are in the order of their names, which is that of their labels."""


def draw_poses(motion: str, time: Floats, limits: tuple[float, float], rng: Generator) -> Floats:
    """Draw a motion's poses at times (T,) in seconds: (T, 4) float64 of y, x, angle and log area.

    limits: how far the centre may be from the middle of the frame, up or down and left or right, in shorter sides of
    the frame, as y and x are. Angle: radians in [0, 2π). Log area: of the share of the frame, within log(AREA).
    """
    halves = (*limits, np.pi / 2, _HALF_LOG_AREA)
    start = rng.uniform(-2, 2, 4) * halves
    moved = _DISPLACEMENTS[motion](time, rng)
    y, x, angle, area = (s + moved.get(name, 0) + 0 * time for s, name in zip(start, _COORDINATES, strict=True))
    folded = (
        fold(y, limits[0]),
        fold(x, limits[1]),
        angle % (2 * np.pi),
        _LOG_AREAS.mean() + fold(area, _HALF_LOG_AREA),
    )
    return np.stack(folded, axis=1)


_COORDINATES = ("y", "x", "angle", "area")


def fold(values: Floats, half: float) -> Floats:
    """Reflect values on a line between mirrors at -half and half."""
    return half * triangle((values / half - 1) / 4)


def _phase(time: Floats, rng: Generator, slowest: float, fastest: float) -> Floats:
    """Draw an angle in radians that begins anywhere and goes round between `slowest` and `fastest` times a second."""
    return 2 * np.pi * (rng.uniform(slowest, fastest) * time + rng.uniform())
