"""The rendered windows of a shard, `motion/VARIANT/NNNNN.h5`, are corrections to add to the stored frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.storage.hdf5 import ShardFile, read_array, read_gzipped_rows, write_shard

CHUNK_FRAMES = 8
"""A chunk holds the corrections of this many frames, 98 kB before compression."""


@dataclass(frozen=True)
class WindowRecord:
    """This is stored of a window in addition to its corrections.

    video: row of its video in the shard. frames: frame numbers in the shard, (L,) int64. alpha: the threshold that was
    used. kept: share of the latents that were not suppressed, 0 to 1.
    """

    video: int
    frames: np.ndarray
    alpha: float
    kept: float


class CorrectionWriter:
    """This appends the windows of a shard in order."""

    def __init__(self, file: ShardFile):
        self._file = file
        self._correction = file.growing("correction", (SMALL, SMALL, 3), np.int8, CHUNK_FRAMES, compress=True)
        self._records: list[WindowRecord] = []
        self._scales: list[float] = []

    def add(self, record: WindowRecord, peak: float, changes: Iterator[np.ndarray]) -> None:
        """Append a window, whose changes are stored as whole steps of its scale, about peak / 127.

        changes: f⁻¹(z_p) - X' in pieces (n, 64, 64, 3) float32. peak: their largest absolute value.
        """
        scale = np.float32(peak / 127)
        while scale * np.float32(127) < peak:
            scale = np.nextafter(scale, np.float32(np.inf))
        for change in changes:
            steps = np.rint(change / scale) if scale else np.zeros_like(change)
            self._correction.append(steps.astype(np.int8))
        self._records.append(record)
        self._scales.append(float(scale))

    def finish(self) -> None:
        records = self._records
        lengths = [0, *(len(r.frames) for r in records)]
        rows = [np.zeros(0, np.int64), *(r.frames for r in records)]
        self._file.put("scale", np.array(self._scales, np.float32))
        self._file.put("window_offsets", np.cumsum(lengths, dtype=np.int64))
        self._file.put("window_video", np.array([r.video for r in records], np.int64))
        self._file.put("window_frames", np.concatenate(rows).astype(np.int64))
        self._file.put("alpha", np.array([r.alpha for r in records], np.float32))
        self._file.put("kept", np.array([r.kept for r in records], np.float32))


@contextmanager
def write_corrections(path: Path) -> Iterator[CorrectionWriter]:
    """Write the file of a shard and a variant; it is at `path` if the block ends without an error."""
    with write_shard(path) as file:
        writer = CorrectionWriter(file)
        yield writer
        writer.finish()


@dataclass(frozen=True)
class CorrectionShard:
    """This holds the small arrays of a rendered shard, by their names in the file; corrections are read by slices."""

    path: Path
    scale: np.ndarray
    window_offsets: np.ndarray
    window_video: np.ndarray
    window_frames: np.ndarray
    alpha: np.ndarray
    kept: np.ndarray

    def windows_of(self, video: int) -> np.ndarray:
        """Return the numbers of the windows of a video, given its row in the shard, in order: (n,) int64."""
        return np.flatnonzero(self.window_video == video)

    def frames_of(self, window: int) -> np.ndarray:
        """Return the frame numbers in the shard of a window: (L,) int64."""
        return self.window_frames[self.window_offsets[window] : self.window_offsets[window + 1]]

    def change(self, window: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return f⁻¹(z_p) - X' of rows start to stop of a window, for pixels in [0, 1]: (L, 64, 64, 3) float32."""
        length = len(self.frames_of(window))
        return self.correction(window, np.arange(length)[start:stop]) * self.scale[window]

    def correction(self, window: int, rows: np.ndarray) -> np.ndarray:
        """Return the stored corrections of some rows (L,) of a window, in any order, in units of its scale.

        They are (L, 64, 64, 3) int8.
        """
        if len(rows) == 0:
            return np.zeros((0, SMALL, SMALL, 3), np.int8)
        begin, first, last = int(self.window_offsets[window]), int(rows.min()), int(rows.max())
        stored = read_gzipped_rows(self.path, "correction", begin + first, begin + last + 1)
        # Rows of a padded clip may be as many as those from the first to the last, and be others.
        consecutive = len(stored) == len(rows) and (np.diff(rows) == 1).all()
        return stored if consecutive else stored[rows - first]


def read_corrections(path: Path) -> CorrectionShard:
    """Return a rendered shard. Raises what `read_array` raises."""
    names = ("scale", "window_offsets", "window_video", "window_frames", "alpha", "kept")
    return CorrectionShard(path, *(read_array(path, name) for name in names))
