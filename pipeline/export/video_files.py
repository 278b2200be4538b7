"""Write a clip of a cache as a file: an MP4, or a folder of JPEGs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.frames import encode_jpegs
from s2vc.pipeline.export.clips import Clip
from s2vc.pipeline.stages.video import write_video

PIECE_FRAMES = 64
"""This many frames of a clip are in memory at a time."""

JPEG_QUALITY = 95


def write_mp4_clip(path: Path, cache: Cache, clip: Clip) -> None:
    """Write H.264 in yuv420p, which needs even sizes: where a size is odd, the last row or column is repeated.

    Raises UserError if the cache is damaged.
    """
    pieces = _pieces(cache, clip)
    first = next(pieces)
    height, width = first.shape[1:3]
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    with write_video(path, height + height % 2, width + width % 2, clip.fps) as write:
        write(np.pad(first, odd, "edge"))
        for piece in pieces:
            write(np.pad(piece, odd, "edge"))


def write_jpeg_clip(path: Path, cache: Cache, clip: Clip) -> None:
    """Write the frames as img_00001.jpg and so on into a new folder. Raises UserError if the cache is damaged."""
    path.mkdir()
    number = 0
    for piece in _pieces(cache, clip):
        for jpeg in encode_jpegs(piece, JPEG_QUALITY):
            number += 1
            (path / f"img_{number:05d}.jpg").write_bytes(jpeg)


def _pieces(cache: Cache, clip: Clip) -> Iterator[np.ndarray]:
    """Yield the frames of a clip in order, up to PIECE_FRAMES at a time, (n, H, W, 3) uint8.

    Raises UserError if the cache is damaged.
    """
    for start in range(0, clip.frames, PIECE_FRAMES):
        stop = min(start + PIECE_FRAMES, clip.frames)
        with damage_as_user_error(clip.video_id, cache.storage):
            if clip.variant is None:
                piece = cache.frames(clip.video_id, start, stop)
            else:
                piece = cache.motion_preserved(clip.video_id, clip.variant, clip.window, start, stop)
        yield piece
