"""How much of a video moves: the share of its pixels with optical flow (supplement, Fig. 1).

A moving camera counts as motion, as it does in the paper. Speed is in pixels of the stored frame per stored frame, so
that shares compare between caches of one frame size and step.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import numpy as np

from s2vc.eval.analyses.optical_flow import speeds
from s2vc.eval.analyses.share_figure import ShareExample, choose_places
from s2vc.eval.videos import damage_reported
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.reporting import Advance

PIECE_FRAMES = 64
"""So many frames of a video are read at a time, so that memory does not grow with its length."""

QUEUED_VIDEOS = 64
"""So many videos are handed to the threads at a time, so that memory does not grow with their number."""


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


def motion_examples(cache: Cache, rows: np.ndarray, shares: np.ndarray, threshold: float) -> list[ShareExample]:
    """Show the videos at some quantiles of the shares, from the stillest to the liveliest: what moves is red."""
    found = []
    for place in choose_places(shares):
        row = rows[place]
        video, frames = str(cache.index["video_id"].iloc[row]), int(cache.index["frames"].iloc[row])
        middle = (frames - 1) // 2
        with damage_reported(cache, video):
            pair = cache.frames(video, middle, middle + 2)
        moving = next(speeds(pair)) > threshold
        marked = _mark_moving(pair[0], moving)
        found.append(ShareExample(video, pair[0], marked, float(shares[place]), float(moving.mean())))
    return found


def _mark_moving(frame: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Colour what moves (H, W) bool in the grey frame red: (H, W, 3) uint8."""
    grey = np.repeat(frame.mean(axis=2, keepdims=True), 3, axis=2)
    red = 0.45 * grey + 0.55 * np.array([255, 40, 40])
    return np.where(moving[..., None], red, grey).round().astype(np.uint8)
