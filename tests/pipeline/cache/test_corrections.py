"""Corrections of a window: rows in any order and number are those that were stored."""

from pathlib import Path

import numpy as np
import pytest

from s2vc.pipeline.cache.corrections import WindowRecord, read_corrections, write_corrections
from s2vc.pipeline.windows import WindowRule

FRAMES = 43


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A file of two windows of 43 frames, and their steps: (2, 43, 64, 64, 3) int8."""
    path = tmp_path_factory.mktemp("corrections") / "00000.h5"
    steps = np.random.default_rng(0).integers(-127, 128, (2, FRAMES, 64, 64, 3)).astype(np.int8)
    with write_corrections(path) as writer:
        for video, window in enumerate(steps):
            record = WindowRecord(video, np.arange(FRAMES) + video * FRAMES, alpha=0.5, kept=0.5)
            writer.add(record, 127.0, iter([window.astype(np.float32)]))
    return path, steps


PADDED = [WindowRule("clip", 40, 3).windows(frames)[0] for frames in (40, 41, 42)]
"""Clips of short videos: 26 times the first frame, then every third one; as many rows as frames from 0 to the last."""


@pytest.mark.parametrize(
    "rows",
    [*PADDED, np.arange(5, 21), np.arange(1, 43, 3), np.array([7, 6, 5]), np.array([2, 2, 4]), np.zeros(1, np.int64)],
)
@pytest.mark.parametrize("window", [0, 1])
def test_each_row_has_its_own_correction(rows: np.ndarray, window: int, stored: tuple[Path, np.ndarray]) -> None:
    path, steps = stored
    np.testing.assert_array_equal(read_corrections(path).correction(window, rows), steps[window][rows])
