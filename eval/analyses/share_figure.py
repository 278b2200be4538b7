"""The figure of a share of the frame, of what moves or of people: bars by class, and examples (supplement, Fig. 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2vc.eval.videos import short_id
from s2vc.pipeline.storage.figures import save_figure

EXAMPLE_QUANTILES = (0.1, 0.5, 0.9)
"""The videos at these quantiles of the share are shown."""

FEW_CLASSES = 30
"""Up to so many classes are drawn as bars; for more, a histogram of the videos is drawn."""


@dataclass(frozen=True)
class ShareExample:
    """Holds the middle frame (H, W, 3) uint8 of a video, the same with what is counted marked in it, the video's share,
    and the frame's own, 0 to 1."""

    video_id: str
    frame: np.ndarray
    marked: np.ndarray
    share: float
    frame_share: float


def class_means(shares: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Average the share over the videos of each class, in the order of names; "" is no class."""
    of = np.array(names, dtype=object)
    return {str(name): float(shares[of == name].mean()) for name in sorted(set(names)) if name}


def choose_places(shares: np.ndarray) -> list[int]:
    """Choose the places in shares (N,) of those at EXAMPLE_QUANTILES, each once, from the least to the greatest."""
    order = np.argsort(shares, kind="stable")
    return [int(order[p]) for p in dict.fromkeys(round(q * (len(order) - 1)) for q in EXAMPLE_QUANTILES)]


def plot_class_shares(
    what: str, shares: np.ndarray, per_class: dict[str, float], shown: Sequence[ShareExample], title: str, path: Path
) -> None:
    """Plot bars per class, or a histogram over videos, and examples with what is counted marked, as a PNG.

    what: names what is counted, such as "moving pixels".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    figure.suptitle(title, fontsize=12)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.1), wspace=0.03)
    left, right = parts
    axes = left.subplots()
    if 2 <= len(per_class) <= FEW_CLASSES:
        _plot_classes(axes, what, per_class)
    else:
        axes.hist(100 * shares, np.linspace(0, 100, 41), color="C0")
        axes.set(xlabel=f"{what}, % (mean over a video's frames)", ylabel="videos")
    axes.grid(axis="x", alpha=0.3)
    cells = right.subplots(2, len(EXAMPLE_QUANTILES), squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for (above, below), example in zip(cells.T, shown, strict=False):
        above.imshow(example.frame)
        above.set_title(f"{short_id(example.video_id)}\n{example.share:.1%} of the video", fontsize=8)
        below.imshow(example.marked)
        below.set_title(f"{example.frame_share:.1%} of this frame", fontsize=8)
    save_figure(figure, path)


def _plot_classes(axes: Any, what: str, per_class: dict[str, float]) -> None:
    """Plot a bar for each class, the one with the least at the top."""
    names = sorted(per_class, key=lambda name: -per_class[name])
    drawn = axes.barh(names, [100 * per_class[name] for name in names], color="C0")
    axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", labelsize=9 if len(names) <= 12 else 6)
    axes.set_xlabel(f"{what}, % (mean over the class's videos)")
