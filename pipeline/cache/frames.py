"""A shard's frames lie in `frames/NNNNN.h5` (JPEG at the cache's size) and `small/NNNNN.h5` (64x64 for the flow).

Row v of the per-video arrays is the shard's v-th video; a failed video has no frames and keeps its row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import simplejpeg

from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.storage.hdf5 import Growing, ShardFile, read_array, read_dataset, write_shard

JPEG_CHUNK = 1 << 16
SMALL_CHUNK = 16

MAX_SIDE = 4096
"""A stored frame has at most this many pixels a side, since a few bytes of JPEG can claim gigabytes."""


def encode_jpegs(frames: np.ndarray, quality: int) -> list[bytes]:
    """Encode frames (n, H, W, 3) uint8 RGB as one JPEG each, 4:2:0."""
    return [simplejpeg.encode_jpeg(f, quality, "RGB", "420") for f in np.ascontiguousarray(frames)]


def decode_jpegs(jpegs: Sequence[bytes | memoryview]) -> np.ndarray:
    """Decode one or more JPEGs of one size to (n, H, W, 3) uint8 RGB.

    Raises ValueError for what is no JPEG, or is larger than MAX_SIDE.
    """
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpegs[0])
    if max(height, width) > MAX_SIDE:
        raise ValueError(f"a stored frame says it is {height}x{width}, {MAX_SIDE} pixels a side are the most")
    # All are decoded into one array: allocating an array for each, and stacking them, took half as long as the
    # decoding.
    frames = np.empty((len(jpegs), height, width, 3), np.uint8)
    for jpeg, frame in zip(jpegs, frames, strict=True):
        simplejpeg.decode_jpeg(jpeg, "RGB", buffer=frame)
    return frames


def pool_small(frames: np.ndarray) -> np.ndarray:
    """Return X' of frames: (n, H, W, 3) uint8 -> (n, 64, 64, 3) uint8, average pooled, then rounded half to even."""
    # In units of grey levels the sums are whole numbers, so that float32 is exact and the rounding is well defined.
    import torch  # Who only reads frames does without.

    from s2vc.pipeline.static_cues import small_frames

    grey = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    return small_frames(grey).round_().byte().permute(0, 2, 3, 1).contiguous().numpy()


class FrameWriter:
    """This appends the videos of a shard, one after another, to its two files."""

    def __init__(self, frames: ShardFile, small: ShardFile):
        self._frames, self._small_file = frames, small
        self._jpeg: Growing = frames.growing("jpeg", (), np.uint8, JPEG_CHUNK)
        self._small: Growing = small.growing("small", (SMALL, SMALL, 3), np.uint8, SMALL_CHUNK)
        self._lengths: list[np.ndarray] = []
        self._video_frames: list[int] = []
        self._video_ids: list[str] = []

    def begin(self, video_id: str) -> None:
        """Begin a video: frames that are added from now on belong to it."""
        self._video_ids.append(video_id)
        self._video_frames.append(0)

    def add(self, jpegs: bytes, lengths: np.ndarray, small: np.ndarray) -> None:
        """Append frames: their JPEGs end to end, the JPEGs' lengths (n,) in bytes, and small (n, 64, 64, 3) uint8."""
        self._jpeg.append(np.frombuffer(jpegs, np.uint8))
        self._small.append(small)
        self._lengths.append(lengths)
        self._video_frames[-1] += len(small)

    def finish(self) -> None:
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        self._frames.put("jpeg_offsets", np.cumsum(lengths))
        self._frames.put("video_offsets", np.cumsum([0, *self._video_frames], dtype=np.int64))
        self._frames.put("video_ids", self._video_ids)


@contextmanager
def write_frames(frames: Path, small: Path) -> Iterator[FrameWriter]:
    """Write both files of a shard; they appear if the block ends without an error."""
    with write_shard(frames) as frames_file, write_shard(small) as small_file:
        writer = FrameWriter(frames_file, small_file)
        yield writer
        writer.finish()


def read_jpegs(frames: Path, start: int, stop: int) -> list[memoryview]:
    """Return the JPEGs of the shard's frames start to stop."""
    offsets = read_array(frames, "jpeg_offsets")[start : stop + 1]
    data = memoryview(read_dataset(frames, "jpeg")[offsets[0] : offsets[-1]])
    return [data[a:b] for a, b in pairwise((offsets - offsets[0]).tolist())]


def read_frames(frames: Path, start: int, stop: int) -> np.ndarray:
    """Return the shard's frames start to stop: (n, H, W, 3) uint8."""
    return decode_jpegs(read_jpegs(frames, start, stop))


def read_picked_frames(frames: Path, numbers: np.ndarray) -> np.ndarray:
    """Return frames of the shard by their numbers (n,), in any order: (n, H, W, 3) uint8. Each is decoded once."""
    first, last = int(numbers.min()), int(numbers.max())
    jpegs = read_jpegs(frames, first, last + 1)
    if len(numbers) == len(jpegs) and (np.diff(numbers) == 1).all():
        return decode_jpegs(jpegs)
    wanted, places = np.unique(numbers - first, return_inverse=True)
    return decode_jpegs([jpegs[n] for n in wanted])[places]


def read_small(small: Path, start: int, stop: int) -> np.ndarray:
    """Return the shard's small frames start to stop: (n, 64, 64, 3) uint8."""
    return np.asarray(read_dataset(small, "small")[start:stop])
