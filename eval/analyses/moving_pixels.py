"""How much of a video moves: the share of its pixels with optical flow (supplement, Fig. 1).

A moving camera counts as motion, as it does in the paper. Speed is in pixels of the stored frame per stored frame, so
that shares compare between caches of one frame size and step.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s2vc.eval.analyses.optical_flow import speeds
from s2vc.eval.videos import damage_reported, short_id
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.reporting import Advance
from s2vc.pipeline.storage.figures import save_figure

PIECE_FRAMES = 64
"""So many frames of a video are read at a time, so that memory does not grow with its length."""

QUEUED_VIDEOS = 64
"""So many videos are handed to the threads at a time, so that memory does not grow with their number."""

EXAMPLE_QUANTILES = (0.1, 0.5, 0.9)
"""The videos at these quantiles of the share are shown."""

FEW_CLASSES = 30
"""Up to so many classes are drawn as bars; for more, a histogram of the videos is drawn."""


def moving_share(cache: Cache, row: int, threshold: float, every: int = 1) -> float:
    """Compute the share of the pixels of a row's video faster than `threshold` (pixels per frame), 0 to 1: the mean
    over its pairs of adjacent frames.

    every: one pair of so many is looked at, beginning with the first. The video has two frames or more. Raises
    UserError where they cannot be read.
    """
    shares = [(speed > threshold).mean() for run in _frame_runs(cache, row, every) for speed in speeds(run)]
    return float(np.mean(shares))


def _frame_runs(cache: Cache, row: int, every: int) -> Iterator[np.ndarray]:
    """Read frames (n, H, W, 3) uint8 whose adjacent pairs are looked at; a run begins where the last one ended."""
    video, last = str(cache.index["video_id"].iloc[row]), int(cache.index["frames"].iloc[row]) - 1
    step, length = (PIECE_FRAMES, PIECE_FRAMES) if every == 1 else (every, 1)
    for start in range(0, last, step):
        with damage_reported(cache, video):
            run = cache.frames(video, start, min(start + length, last) + 1)
        yield run


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Turn OpenCV's own threads off: all of Farneback's work is done by the thread that calls it (measured)."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def moving_shares(
    cache: Cache, rows: np.ndarray, threshold: float, every: int, workers: int, advance: Advance
) -> np.ndarray:
    """Compute `moving_share` of each row of the index: (N,) float64. workers: threads; OpenCV releases Python's
    lock."""
    frames = cache.index["frames"].to_numpy()[rows]
    shares = np.empty(len(rows))
    with _single_threaded_opencv(), ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(rows), QUEUED_VIDEOS):
            found = pool.map(
                lambda row: moving_share(cache, int(row), threshold, every), rows[first : first + QUEUED_VIDEOS]
            )
            for number, share in enumerate(found, first):
                shares[number] = share
                advance(1, int(frames[number]))
    return shares


def class_means(shares: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Average the share over the videos of each class, in the order of names; "" is no class."""
    of = np.array(names, dtype=object)
    return {str(name): float(shares[of == name].mean()) for name in sorted(set(names)) if name}


@dataclass(frozen=True)
class Example:
    """Holds the middle frame (H, W, 3) uint8 of a video, which of its pixels move, (H, W) bool, and its share."""

    video_id: str
    frame: np.ndarray
    moving: np.ndarray
    share: float


def choose_examples(cache: Cache, rows: np.ndarray, shares: np.ndarray, threshold: float) -> list[Example]:
    """Choose the videos at EXAMPLE_QUANTILES of the shares, each once, from the stillest to the liveliest."""
    order = np.argsort(shares, kind="stable")
    found = []
    for place in dict.fromkeys(round(q * (len(order) - 1)) for q in EXAMPLE_QUANTILES):
        row = rows[order[place]]
        video, frames = str(cache.index["video_id"].iloc[row]), int(cache.index["frames"].iloc[row])
        middle = (frames - 1) // 2
        with damage_reported(cache, video):
            pair = cache.frames(video, middle, middle + 2)
        speed = next(speeds(pair))
        found.append(Example(video, pair[0], speed > threshold, float(shares[order[place]])))
    return found


def plot_motion(
    shares: np.ndarray, per_class: dict[str, float], shown: Sequence[Example], title: str, path: Path
) -> None:
    """Plot bars per class, or a histogram over videos, and examples with their moving pixels in colour, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    figure.suptitle(title, fontsize=12)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.1), wspace=0.03)
    left, right = parts
    axes = left.subplots()
    if 2 <= len(per_class) <= FEW_CLASSES:
        _plot_classes(axes, per_class)
    else:
        axes.hist(100 * shares, np.linspace(0, 100, 41), color="C0")
        axes.set(xlabel="moving pixels, % (mean over a video's frames)", ylabel="videos")
    axes.grid(axis="x", alpha=0.3)
    cells = right.subplots(2, len(EXAMPLE_QUANTILES), squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for (above, below), example in zip(cells.T, shown, strict=False):
        above.imshow(example.frame)
        above.set_title(f"{short_id(example.video_id)}\n{example.share:.1%} of the video", fontsize=8)
        below.imshow(_mark_moving(example))
        below.set_title(f"{example.moving.mean():.1%} of this frame", fontsize=8)
    save_figure(figure, path)


def _plot_classes(axes: Any, per_class: dict[str, float]) -> None:
    """Plot a bar for each class, the stillest at the top."""
    names = sorted(per_class, key=lambda name: -per_class[name])
    drawn = axes.barh(names, [100 * per_class[name] for name in names], color="C0")
    axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", labelsize=9 if len(names) <= 12 else 6)
    axes.set_xlabel("moving pixels, % (mean over the class's videos)")


def _mark_moving(example: Example) -> np.ndarray:
    """Colour what moves in the grey frame red: (H, W, 3) uint8."""
    grey = np.repeat(example.frame.mean(axis=2, keepdims=True), 3, axis=2)
    red = 0.45 * grey + 0.55 * np.array([255, 40, 40])
    return np.where(example.moving[..., None], red, grey).round().astype(np.uint8)
