"""Check the stored frames of a shard: the contents of frames/NNNNN.h5 and small/NNNNN.h5."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import simplejpeg

from s2vc.pipeline.cache.frames import decode_jpegs, read_jpegs
from s2vc.pipeline.cache.receipts import VideoRecord
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.storage.files import Malformed
from s2vc.pipeline.storage.hdf5 import read_shard
from s2vc.pipeline.verify.hdf5_datasets import checked_dataset, checked_texts
from s2vc.pipeline.verify.problem import Problem


def frame_offsets(videos: list[VideoRecord]) -> np.ndarray:
    """Return the first frame of each video in its shard and, last, the number of frames: (V + 1,) int64."""
    return np.cumsum([0, *(v.frames for v in videos)], dtype=np.int64)


def check_frames(path: Path, where: str, size: tuple[int, int], videos: list[VideoRecord]) -> Iterable[Problem]:
    """Check that the datasets fit each other and the receipt's videos, and that the first and the last JPEG of each
    video decode to `size`, (height, width). Raises Malformed where the datasets do not fit."""
    file = read_shard(path)
    expected = frame_offsets(videos)
    jpeg = checked_dataset(file, "jpeg", np.uint8, (None,))
    offsets = checked_dataset(file, "jpeg_offsets", np.int64, (int(expected[-1]) + 1,))[:]
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise Malformed("jpeg_offsets do not rise from 0")
    if offsets[-1] != len(jpeg):
        raise Malformed(f"jpeg_offsets end at {offsets[-1]}, jpeg has {len(jpeg)} bytes")
    if not np.array_equal(checked_dataset(file, "video_offsets", np.int64, expected.shape)[:], expected):
        raise Malformed("video_offsets are not those of the receipt's videos")
    if checked_texts(file, "video_ids", len(videos)) != [v.video_id for v in videos]:
        raise Malformed("video_ids are not those of the receipt")
    for video, first, stop in zip(videos, expected[:-1], expected[1:], strict=True):
        for frame in sorted({int(first), int(stop) - 1}) if stop > first else []:
            fault = _jpeg_fault(path, frame, size)
            if fault:
                yield Problem(where, f"frame {frame - first} of {video.video_id} {fault}")


def _jpeg_fault(path: Path, frame: int, size: tuple[int, int]) -> str:
    """Return what is wrong with a stored frame, as the end of a sentence about it; empty if nothing is."""
    try:
        jpegs = read_jpegs(path, frame, frame + 1)
        # The header is read first, since a few bytes can claim gigabytes of pixels.
        height, width, *_ = simplejpeg.decode_jpeg_header(jpegs[0])
        if (height, width) != size:
            return f"is {height}x{width}, {size[0]}x{size[1]} is expected"
        decode_jpegs(jpegs)
    except (OSError, ValueError) as error:
        return f"does not decode ({error})"
    return ""


def check_small(path: Path, videos: list[VideoRecord]) -> Iterable[Problem]:
    """Check that the file holds one small frame for each frame of the videos. Raises Malformed if not."""
    frames = sum(v.frames for v in videos)
    checked_dataset(read_shard(path), "small", np.uint8, (frames, SMALL, SMALL, 3))
    return ()
