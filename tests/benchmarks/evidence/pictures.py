"""Plot the study: bars of all arms, and R@1 against alpha."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2vc.pipeline.storage.figures import save_figure
from tests.benchmarks.evidence.arms import WINDOWS, Arm
from tests.benchmarks.evidence.intervals import Interval

COLOURS = {"motion": "#c2410c", "scene": "#94a3b8"}
INK = "#334155"

Found = Mapping[str, Mapping[str, Interval]]
"""R@1 by the name of an arm, and by label."""


def plot_bars(found: Found, chance: float, path: Path, colours: Mapping[str, str] = COLOURS, title: str = "") -> None:
    """Plot R@1 on motion and on scene, or by other labels with their colours, with a bar and its interval for each
    arm."""
    figure = Figure(figsize=(7, 1.4 + 0.45 * len(found)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(found))
    for (label, colour), shift in zip(colours.items(), (-0.2, 0.2), strict=True):
        means, errors = _bars([by_label.get(label) for by_label in found.values()])
        axes.barh(places + shift, means, 0.38, color=colour, label=label, xerr=errors, ecolor=INK)
    axes.axvline(100 * chance, color=INK, linewidth=0.8, linestyle="--", label="chance")
    axes.set_yticks(places, list(found))
    axes.invert_yaxis()
    axes.set_xlabel("Recall@1 in %, with 95 % intervals")
    axes.set_title(title, loc="left", fontsize="medium")
    _finish(figure, axes, path)


def plot_alphas(
    found: Found, arms: Sequence[Arm], moco: str, chance: float, path: Path, colours: Mapping[str, str] = COLOURS
) -> None:
    """Plot R@1 against alpha, as the paper's Fig. 3 does, with MoCo beside it; nothing with fewer than two alphas.

    found: may lack arms. arms: those of the study. moco: the name of MoCo's.
    """
    alphas = {
        arm.variant.alpha: arm.name
        for arm in arms
        if arm.method == "s2vc" and arm.variant and arm.variant.rule == WINDOWS and arm.variant.alpha is not None
    }
    known = [(alpha, name) for alpha, name in sorted(alphas.items()) if name in found]
    if len(known) < 2 or moco not in found:
        return
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, colour in colours.items():
        means, errors = _bars([found[name].get(label) for _, name in known])
        axes.errorbar([a for a, _ in known], means, yerr=errors, color=colour, marker="o", capsize=3, label=label)
        if baseline := found[moco].get(label):
            axes.axhline(100 * baseline.mean, color=colour, linewidth=1, linestyle=":", label=f"{label}, MoCo")
    axes.axhline(100 * chance, color=INK, linewidth=0.8, linestyle="--", label="chance")
    axes.set_xlabel("alpha")
    axes.set_ylabel("Recall@1 in %")
    axes.set_ylim(bottom=0)
    _finish(figure, axes, path)


def _bars(found: Sequence[Interval | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return means (N,) and the lengths of error bars (2, N), in per cent; NaN for what was not asked."""
    known = [interval or Interval(np.nan, np.nan, np.nan) for interval in found]
    means = np.array([100 * i.mean for i in known])
    return means, np.array([[100 * (i.mean - i.low) for i in known], [100 * (i.high - i.mean) for i in known]])


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
