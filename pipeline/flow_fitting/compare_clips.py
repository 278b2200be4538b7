"""Prepare the clips that flows are compared on: clips of a cache, also re-compressed, and the built-in sample, whose
movers are known."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from s2vc.manifests.errors import UserError
from s2vc.manifests.sample import SAMPLE_FPS, draw_sample
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.frames import pool_small
from s2vc.pipeline.stages.video import DecodeError, decode_video, write_video
from s2vc.pipeline.static_cues import small_frames

CRFS = (18, 28)
"""Clips are re-compressed by libx264 at these constant rate factors: the loss is hardly visible, and visible."""

LONGEST = 96
"""At most this many frames of a video are taken."""

SAMPLE_VIDEOS = 2
"""This many videos of each class of the built-in sample are drawn, in all 12 clips of 48 frames."""


@dataclass(frozen=True)
class ComparisonClip:
    """Holds a clip that flows are compared on.

    frames: (T, H, W, 3) uint8. small: their X', (T, 64, 64, 3) uint8. recompressed: for each of CRFS, X' of the frames
    after re-compression. mover: (T, 64, 64) bool, whether the mover covers more than half of a cell. background:
    (64, 64) bool, whether the mover touches a cell in no frame. Both are None where the mover is not known.
    """

    name: str
    class_name: str
    frames: np.ndarray
    small: np.ndarray
    recompressed: dict[int, np.ndarray] = field(default_factory=dict)
    mover: np.ndarray | None = None
    background: np.ndarray | None = None


def clips_of_cache(cache: Cache, count: int, shortest: int) -> list[tuple[str, str, int]]:
    """Choose up to `count` videos, evenly spaced among those with `shortest` frames or more.

    Returns video_id, class_name and the number of frames to take of each. Raises UserError if there are none.
    """
    rows = cache.index[cache.index["frames"] >= shortest]
    if rows.empty:
        raise UserError(f"{cache.storage} has no video of {shortest} frames or more")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]
    return [(r.video_id, r.class_name, min(r.frames, LONGEST)) for r in chosen.itertuples()]


def even_size(cache: Cache) -> tuple[int, int]:
    """Return height and width of the stored frames, each rounded down to an even number, as libx264 needs them."""
    height, width = cache.settings.frame_size
    return height // 2 * 2, width // 2 * 2


def comparison_clips(cache: Cache, clips: Sequence[tuple[str, str, int]]) -> Iterator[ComparisonClip]:
    """Read clips, chosen by `clips_of_cache`, from the stored frames, cut to `even_size`, and re-compress them."""
    height, width = even_size(cache)
    for video_id, class_name, count in clips:
        frames = np.ascontiguousarray(cache.frames(video_id, 0, count)[:, :height, :width])
        recompressed = {crf: pool_small(recompress(frames, "25", crf, (height, width))) for crf in CRFS}
        yield ComparisonClip(video_id, class_name, frames, pool_small(frames), recompressed)


def sample_clips(size: tuple[int, int]) -> Iterator[ComparisonClip]:
    """Draw the built-in sample, compress it and decode it at `size` (height, width); yield clips with movers' masks."""
    for video in draw_sample(SAMPLE_VIDEOS):
        frames = recompress(video.frames, str(SAMPLE_FPS), CRFS[0], size)
        covered = small_frames(torch.from_numpy(video.masks)[:, None].float())[:, 0].numpy()
        mover, background = covered > 0.5, (covered == 0).all(axis=0)
        yield ComparisonClip(video.video_id, video.class_name, frames, pool_small(frames), {}, mover, background)


def recompress(frames: np.ndarray, fps: str, crf: int, size: tuple[int, int]) -> np.ndarray:
    """Compress frames (T, H, W, 3) uint8, H and W even, with libx264 and decode them at `size`: (T, *size, 3) uint8.

    Raises OSError where ffmpeg fails.
    """
    height, width = frames.shape[1:3]
    decoded: list[np.ndarray] = []
    with tempfile.TemporaryDirectory(prefix="s2vc-") as folder:
        path = Path(folder) / "clip.mp4"
        with write_video(path, height, width, fps, crf) as write:
            write(frames)
        decode_video(path, *size, lambda part: decoded.append(part.copy()))
    if sum(map(len, decoded)) != len(frames):
        raise DecodeError(f"{len(frames)} frames were compressed and {sum(map(len, decoded))} came back")
    return np.concatenate(decoded)
