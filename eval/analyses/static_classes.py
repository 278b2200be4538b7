"""Does a gain come from classes that need motion? Accuracy on still clips is compared with what is won (Fig. 6)."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from s2vc.pipeline.storage.figures import save_figure

MIN_CLASSES = 20
"""Of fewer points a correlation says nothing."""
RESAMPLES = 9999
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Correlation:
    """Holds Pearson's r over `classes` points, with the bounds of its bootstrap interval (95 %)."""

    r: float
    low: float
    high: float
    classes: int


def relative_gain(accuracy: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Compute (a - s) / s by class, (classes,); NaN where s = 0, still clips are never recognised, or a is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = (accuracy - still) / still
    return np.where(still > 0, gain, np.nan)


def correlation(gain: np.ndarray, still: np.ndarray, seed: int) -> Correlation | None:
    """Correlate gains with the accuracy on still clips, over classes that have both; None for fewer than MIN_CLASSES of
    them.

    The interval is by percentiles over classes drawn with replacement; draws of one point alone are left out. None,
    too, where either does not vary.
    """
    both = np.isfinite(gain) & np.isfinite(still)
    x, y = still[both], gain[both]
    if len(x) < MIN_CLASSES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # SciPy gives no interval at all where a single draw has no r.
    with warnings.catch_warnings(action="ignore", category=stats.DegenerateDataWarning):
        draws = stats.bootstrap(
            (x, y), _pearson, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile", rng=seed
        )
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(draws.bootstrap_distribution, [tail, 100 - tail])
    return Correlation(float(_pearson(x, y)), float(low), float(high), len(x))


def _pearson(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute Pearson's r along an axis; NaN where one of the two does not vary."""
    return np.asarray(stats.pearsonr(x, y, axis=axis).statistic)


def plot_gains(
    still: np.ndarray, gains: dict[str, np.ndarray], correlations: dict[str, Correlation | None], path: Path
) -> None:
    """Plot each gain against the accuracy on still clips, a point per class, with the fitted line, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(gains), 4), layout="constrained")
    for axes, (name, gain) in zip(np.atleast_1d(figure.subplots(1, len(gains))), gains.items(), strict=True):
        both = np.isfinite(gain) & np.isfinite(still)
        axes.scatter(still[both], gain[both], s=18, alpha=0.7)
        axes.axhline(0, color="grey", linewidth=0.8)
        found = correlations[name]
        if found is not None:
            ends = np.array([still[both].min(), still[both].max()])
            axes.plot(ends, np.polyval(np.polyfit(still[both], gain[both], 1), ends), color="C1")
            axes.set_title(f"r = {found.r:.2f} ({found.low:.2f} to {found.high:.2f}), {found.classes} classes")
        else:
            axes.set_title(f"{int(both.sum())} classes: too few for a correlation")
        axes.set_xlabel("accuracy on still clips, s")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    save_figure(figure, path)
