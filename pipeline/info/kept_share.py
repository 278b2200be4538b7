"""Compute which share of the latents each alpha keeps, from the cached STDs and histograms alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.latents import HISTOGRAM_BINS, HISTOGRAM_RANGE, Group, read_std_clip_histogram, read_std_video
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.storage.figures import GREY, INK, save_figure
from s2vc.pipeline.windows import HISTOGRAM_WINDOW, WindowRule

ALPHA_GRID = np.round(np.arange(51) * 0.02, 2)
"""The shares are computed at these alphas: 0, 0.02, … 1."""

BINS = 50
"""So many of the alphas above lie in 1."""

SCOPES = ("video", f"clip{HISTOGRAM_WINDOW}")

PAPER_SHARES = {0.5: {"UCF101": 0.227, "HMDB51": 0.223}, 0.8: {"UCF101": 0.065, "HMDB51": 0.057}}
"""The paper reports these shares, by alpha and data set."""

_LOOKS = {
    "video": ("#2563eb", "STD over the whole video"),
    SCOPES[1]: ("#ea7317", f"STD over windows of {HISTOGRAM_WINDOW} frames"),
}

PLOT_ENDINGS = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Curve:
    """Holds the share kept at ALPHA_GRID, 0 to 1: mean and percentiles 10 and 90 over videos of equal weight."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class KeptShares:
    """Collects the shares of videos, shard by shard; a video takes 400 bytes of memory."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {scope: [] for scope in SCOPES}

    def add(self, shares: tuple[np.ndarray, np.ndarray]) -> None:
        """Add the videos of a shard, as `shares_kept` gives them."""
        for part, kept in zip(self._parts.values(), shares, strict=True):
            part.append(kept)

    @property
    def videos(self) -> int:
        return sum(len(part) for part in self._parts[SCOPES[0]])

    def curves(self) -> dict[str, Curve]:
        """Return the curve of each of SCOPES; empty if there are no videos."""
        if not self.videos:
            return {}
        curves = {}
        for scope, parts in self._parts.items():
            kept = np.concatenate(parts)
            low, high = np.percentile(kept, (10, 90), axis=0)
            curves[scope] = Curve(kept.mean(axis=0, dtype=np.float64), low, high)
        return curves


def shares_kept(latents: Group, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares kept at ALPHA_GRID of a shard's videos with frames, for each of SCOPES: (n, alphas) float32.

    frames: how many each video has, (V,).
    """
    there = frames > 0
    rule = WindowRule("clip", HISTOGRAM_WINDOW)
    windows = np.array([rule.count(int(n)) for n in frames[there]], np.int64)
    of_video = kept_of_std(read_std_video(latents)[there])
    of_windows = kept_of_histogram(read_std_clip_histogram(latents)[there], windows)
    return of_video.astype(np.float32), of_windows.astype(np.float32)


def kept_of_std(std: np.ndarray, alphas: np.ndarray = ALPHA_GRID) -> np.ndarray:
    """Return the share of latents with STD >= alpha of each video: std (V, D) float32 -> (V, alphas).

    STDs are counted in bins of 0.02, since sorting them takes eight times as long. An alpha that is not exactly where a
    bin begins, in float32, is compared with each STD.
    """
    limits = alphas.astype(np.float32)
    bins, before = np.floor(limits * BINS), np.floor(np.nextafter(limits, np.float32(-1)) * BINS)
    compared = np.flatnonzero((bins != np.rint(alphas * BINS)) | (before != bins - 1))
    last, below = int(bins.max()) + 1, np.empty((len(std), len(alphas)), np.int64)
    for row, counts in zip(std, below, strict=True):
        # What is not a number is counted as kept, like what is beyond the last bin.
        numbers = np.fmax(np.fmin(row * np.float32(BINS), last), 0).astype(np.uint16)
        held = np.bincount(numbers, minlength=last + 1)
        counts[:] = (np.cumsum(held) - held)[bins.astype(np.int64)]
        counts[compared] = [np.count_nonzero(row < limit) for limit in limits[compared]]
    return 1 - below / std.shape[1]


def kept_of_histogram(histogram: np.ndarray, windows: np.ndarray, alphas: np.ndarray = ALPHA_GRID) -> np.ndarray:
    """Return the share of latents with STD >= alpha, mean over the windows of each video: (V, alphas).

    histogram: (V, 512) int64, counts of STDs. windows: (V,), the number of windows of each video. The share is exact
    at the edges of bins, which are multiples of 1/128, and interpolated linearly between them.
    """
    edges = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS + 1)
    below = np.pad(np.cumsum(histogram, axis=1), ((0, 0), (1, 0)))
    # STDs above the range are in no bin, so the total must not be summed from the histogram.
    share = below / (windows * LATENTS)[:, None]
    return 1 - np.reshape([np.interp(alphas, edges, row) for row in share], (len(share), len(alphas)))


def check_plot(path: Path) -> None:
    """Raise UserError if a path is a folder or its ending is none of PLOT_ENDINGS; call it before work is done."""
    if path.suffix.lower() not in PLOT_ENDINGS or path.is_dir():
        raise UserError(f"{path} is no figure to write: its name ends in one of {', '.join(PLOT_ENDINGS)}")


def plot_shares(curves: dict[str, Curve], videos: int, path: Path) -> None:
    """Write a figure of the share kept against alpha, with percentiles over videos and the paper's points.

    videos: how many videos the curves are of. Raises UserError for an ending that is none of PLOT_ENDINGS, without
    curves, and if the file cannot be written.
    """
    check_plot(path)
    if not curves:
        raise UserError("there is nothing to plot: no video is encoded")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    _draw(figure.add_subplot(), curves, videos)
    try:
        save_figure(figure, path, dpi=200)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def _draw(axes: Any, curves: dict[str, Curve], videos: int) -> None:
    from matplotlib.legend_handler import HandlerTuple

    for scope, curve in curves.items():
        colour, name = _LOOKS[scope]
        axes.fill_between(ALPHA_GRID, 100 * curve.low, 100 * curve.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(ALPHA_GRID, 100 * curve.mean, color=colour, linewidth=2, label=name)
    # The points of the two data sets nearly coincide, so one is drawn as a diamond and the other as a ring around it.
    looks = {"UCF101": {"s": 70, "marker": "o", "facecolors": "none"}, "HMDB51": {"s": 16, "marker": "D", "color": INK}}
    points = []
    for name, look in looks.items():
        reported = [100 * both[name] for both in PAPER_SHARES.values()]
        points.append(axes.scatter(list(PAPER_SHARES), reported, edgecolors=INK, zorder=3, **look))
    axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="alpha: latents with STD < alpha are suppressed", ylabel="latents kept")
    axes.set_xticks(np.arange(0, 1.01, 0.1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    lines, names = axes.get_legend_handles_labels()
    handles, names = [*lines, tuple(points)], [*names, f"paper ({', '.join(looks)})"]
    axes.legend(handles, names, handler_map={tuple: HandlerTuple(ndivide=None)}, frameon=False, loc="upper right")
    noun = "1 video" if videos == 1 else f"{videos} videos of equal weight; bands: 10th to 90th percentile"
    axes.set_title(f"Mean over {noun}", loc="left", fontsize=10, color=GREY)
