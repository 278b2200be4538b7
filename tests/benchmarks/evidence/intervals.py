"""Compute means over seeds and test videos with 95 % intervals, by bootstrap over both."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 10_000


class Interval(NamedTuple):
    """Holds a mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


def interval(runs: Sequence[np.ndarray], seed: int = 0) -> Interval:
    """Return the interval of an arm's outcomes, an array (videos,) for each run.

    Each bootstrap draw takes seeds and videos at random, the same videos for all runs.
    """
    values = np.stack(runs).astype(np.float64)
    return _of_draws(values.mean(), [values[rows][:, columns].mean() for rows, columns in _draws(values.shape, seed)])


def difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], seed: int = 0) -> Interval:
    """Return the interval of ours minus theirs, paired by seed and video."""
    return interval([a.astype(np.float64) - b for a, b in zip(ours, theirs, strict=True)], seed)


def gap(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], seed: int = 0) -> Interval:
    """Return the interval of one test's outcomes minus another's, by the same seeds on other videos."""
    a, b = np.stack(ours).astype(np.float64), np.stack(theirs).astype(np.float64)
    others = _draws(b.shape, seed + 1)
    drawn = [
        a[rows][:, mine].mean() - b[rows][:, columns].mean()
        for (rows, mine), (_, columns) in zip(_draws(a.shape, seed), others, strict=True)
    ]
    return _of_draws(a.mean() - b.mean(), drawn)


def _draws(shape: tuple[int, ...], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.integers(shape[0], size=shape[0]), rng.integers(shape[1], size=shape[1])) for _ in range(DRAWS)]


def _of_draws(mean: float, drawn: Sequence[float]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(mean), float(low), float(high))
