"""Does a gain come from classes that need motion? Accuracy on still clips is compared with what is won (Fig. 6).

The paper plots (a - s) / s against s. Since s stands in it, it falls with s though a and s had nothing to do with each
other. What r is to be expected then is found by permutation: each class gets the accuracy a of another one.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from scipy import stats

from s2vc.eval.paper import STATIC_BIAS_R
from s2vc.pipeline.storage.figures import save_figure

MIN_CLASSES = 20
"""Of fewer points a correlation says nothing."""
RESAMPLES = 9999
"""So many bootstrap samples, and so many permutations, are drawn."""
CONFIDENCE = 0.95
NOTE_LETTERS = 60
"""A line below a plot has so many letters at most."""


@dataclass(frozen=True)
class Correlation:
    """Holds Pearson's r over `classes` points, with the bounds of its bootstrap interval (95 %)."""

    r: float
    low: float
    high: float
    classes: int


@dataclass(frozen=True)
class PermutationNull:
    """Holds what Pearson's r of (a - s) / s with s is where a is dealt to the classes at random: its mean, the bounds
    between which 95 % of the permutations are, and p, the share of permutations whose r is as low as the one found."""

    r: float
    low: float
    high: float
    p: float


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


def permutation_null(accuracy: np.ndarray, still: np.ndarray, seed: int) -> PermutationNull | None:
    """Find which r of (a - s) / s with s is to be expected by its construction, over the classes that `correlation`
    takes; None where that gives None.

    accuracy, still: a and s by class, (classes,), shares. The permutation that is found counts as one of those that
    were drawn, so that p is never 0 (Phipson and Smyth 2010).
    """
    gain = relative_gain(accuracy, still)
    both = np.isfinite(gain) & np.isfinite(still)
    a, s = accuracy[both], still[both]
    if len(s) < MIN_CLASSES or np.ptp(s) == 0 or np.ptp(gain[both]) == 0:
        return None
    dealt = np.random.default_rng(seed).permuted(np.tile(a, (RESAMPLES, 1)), axis=1)
    drawn = _pearson(relative_gain(dealt, s), s[None])
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    found = float(_pearson(gain[both], s))
    as_low = int((drawn <= found + 1e-12).sum())
    return PermutationNull(float(drawn.mean()), float(low), float(high), (1 + as_low) / (1 + RESAMPLES))


@dataclass(frozen=True)
class Gain:
    """Holds a gain by class, (classes,), NaN where it is not defined, and what it has to do with s.

    key: its name in a result. title: its name for people. paper: Pearson's r as printed (Fig. 6), None where the paper
    has none. null: None, too, for a gain that s does not stand in.
    """

    key: str
    title: str
    values: np.ndarray
    correlation: Correlation | None
    null: PermutationNull | None = None
    paper: float | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """Name r, its bounds, and those of the permutations, for a result; nothing where there is no r."""
        found: dict[str, float] = {}
        for name, part in ((f"r_{self.key}", self.correlation), (f"r_{self.key}_permuted", self.null)):
            if part is not None:
                found |= {name: part.r, f"{name}_low": part.low, f"{name}_high": part.high}
        return found | ({} if self.null is None else {f"p_{self.key}": self.null.p})

    @property
    def note(self) -> str:
        """Tell what r means, in sentences for below a plot; empty where there is nothing to say."""
        said = ""
        if self.null is not None:
            said = (
                "(a - s) / s falls with s by construction: with a dealt to the classes at random, "
                f"r is {self.null.r:.2f} ({self.null.low:.2f} to {self.null.high:.2f}), "
                f"and as low as here in {self.null.p:.2%} of permutations."
            )
        return f"{said} The paper's r: {self.paper:.2f}.".strip() if self.paper is not None else said


def class_gains(
    still: np.ndarray,
    accuracy: np.ndarray,
    moco: np.ndarray | None,
    seed: int,
    methods: Sequence[str] = ("s2vc", "moco"),
) -> list[Gain]:
    """Compute the gains by class (classes,): over still clips, and where MoCo's accuracies are given also MoCo's own
    over still clips, and the gain over MoCo. methods: by which the two were trained, since the paper's r is of one."""

    def relative(key: str, title: str, a: np.ndarray, method: str) -> Gain:
        values, paper = relative_gain(a, still), STATIC_BIAS_R.get(method)
        return Gain(key, title, values, correlation(values, still, seed), permutation_null(a, still, seed), paper)

    gains = [relative("relative", "relative gain, (a - s) / s", accuracy, methods[0])]
    if moco is not None:
        gains.append(relative("moco_relative", "of MoCo, (a_moco - s) / s", moco, methods[1]))
        over = accuracy - moco
        gains.append(Gain("over_moco", "gain over MoCo, a - a_moco", over, correlation(over, still, seed)))
    return gains


def _pearson(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute Pearson's r along an axis; NaN where one of the two does not vary."""
    return np.asarray(stats.pearsonr(x, y, axis=axis).statistic)


def plot_gains(still: np.ndarray, gains: Sequence[Gain], path: Path) -> None:
    """Plot each gain against the accuracy on still clips, a point per class, with the fitted line, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(gains), 4.8), layout="constrained")
    for axes, gain in zip(np.atleast_1d(figure.subplots(1, len(gains))), gains, strict=True):
        both = np.isfinite(gain.values) & np.isfinite(still)
        x, y, found = still[both], gain.values[both], gain.correlation
        axes.scatter(x, y, s=18, alpha=0.7)
        axes.axhline(0, color="grey", linewidth=0.8)
        if found is not None:
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color="C1")
            axes.set_title(f"r = {found.r:.2f} ({found.low:.2f} to {found.high:.2f}), {found.classes} classes")
        else:
            few = len(x) < MIN_CLASSES
            axes.set_title(f"{len(x)} classes: " + ("too few for a correlation" if few else "one figure does not vary"))
        axes.set_xlabel("\n".join(["accuracy on still clips, s", *wrap(gain.note, NOTE_LETTERS)]), fontsize=9)
        axes.set_ylabel(gain.title)
        axes.grid(alpha=0.3)
    save_figure(figure, path)
