"""The figure of `s2vc-eval normality`: histograms of pixels and of latents with fitted normals (supplement, Fig. 5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from s2vc.eval.analyses.latent_normality import (
    BINS,
    CONTROLS,
    EDGES,
    PIXELS,
    RANGE,
    SIGNIFICANCE,
    STATIC_LATENTS,
    NormalFit,
    NormalityResult,
    Series,
)
from s2vc.pipeline.storage.figures import save_figure

MAX_SHOWN, COLUMNS = 8, 4
"""At most so many series of a video are drawn, and so many side by side."""

COLOURS = {PIXELS: "C0", STATIC_LATENTS: "C2"}
PANEL_TITLES = {PIXELS: "pixels of X'", STATIC_LATENTS: "latents with STD < alpha"}


def plot_normality(
    shown: Sequence[tuple[Series, NormalFit | None]], tested: Mapping[str, NormalityResult], path: Path
) -> None:
    """Plot series of one video, each with its MSE and the published test's verdict, and below them all series of all
    videos together, standardised, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    verdicts = f"H1: rejected as normal by Kolmogorov-Smirnov at {SIGNIFICANCE:g}, H0: not rejected"
    figure.suptitle(f"{shown[0][0].video_id} ({verdicts})", fontsize=12)
    parts: Any = figure.subfigures(1, 2, wspace=0.03)
    for part, kind in zip(parts, (PIXELS, STATIC_LATENTS), strict=True):
        own = [pair for pair in shown if pair[0].kind == kind][:MAX_SHOWN]
        part.suptitle(PANEL_TITLES[kind], fontsize=12)
        grid = part.add_gridspec(-(-MAX_SHOWN // COLUMNS) + 1, COLUMNS)
        for number, (series, fit) in enumerate(own):
            _plot_series(part.add_subplot(grid[number // COLUMNS, number % COLUMNS]), series, fit, COLOURS[kind])
        _plot_all(part.add_subplot(grid[-1, :]), tested[kind], tested[CONTROLS[kind]], COLOURS[kind])
    save_figure(figure, path)


def _plot_series(axes: Any, series: Series, fit: NormalFit | None, colour: str) -> None:
    """Plot a series in its own unit, in the bins that the MSE is of; H0: normal by the published test, H1: rejected."""
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="x", nbins=4)
    if fit is None:
        axes.set_xticks([])
        axes.set_title(f"{series.place}: constant, {series.values[0]:.3g}", fontsize=8)
        return
    edges = fit.mean + fit.std * EDGES
    axes.hist(series.values, edges, density=True, color=colour, alpha=0.55)
    x = np.linspace(edges[0], edges[-1], 200)
    axes.plot(x, stats.norm.pdf(x, fit.mean, fit.std), color="0.2", linewidth=1)
    axes.set_title(f"{series.place}: MSE {fit.mse:.4f}, {fit.verdict}", fontsize=8)


def _plot_all(axes: Any, tested: NormalityResult, control: NormalityResult, colour: str) -> None:
    """Plot all series together, and of their control, normal numbers that are rounded alike, the outline."""
    x = np.linspace(-RANGE, RANGE, 20 * BINS)
    if tested.fits:
        axes.stairs(_density(tested), EDGES, fill=True, color=colour, alpha=0.55)
        axes.plot(x, stats.norm.pdf(x), color="0.2", linewidth=1)
        axes.set_title(f"{len(tested.fits)} series of all videos drawn: {_described(tested)}", fontsize=8)
    if control.fits:
        label = f"normal, rounded alike: {_described(control)}"
        axes.stairs(_density(control), EDGES, color="0.2", linestyle=":", label=label)
        axes.legend(fontsize=6.5, loc="upper left", frameon=False)
    axes.set_ylim(0, 0.65)
    axes.set_xlabel("less mean, over STD")
    axes.set_ylabel("density")


def _density(tested: NormalityResult) -> np.ndarray:
    return np.asarray(tested.counts / (tested.values * np.diff(EDGES)))


def _described(tested: NormalityResult) -> str:
    numbers = tested.numbers
    lilliefors = f"Lilliefors {numbers['lilliefors_h0']:.0%}, dithered {numbers['dithered_lilliefors_h0']:.0%}"
    return f"mean MSE {numbers['mse']:.4f}, H0 in {numbers['published_h0']:.0%} ({lilliefors})"
