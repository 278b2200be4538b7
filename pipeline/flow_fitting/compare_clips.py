"""What flows are compared on: clips of a cache, re-compressed as well, and the built-in sample with its movers."""

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
"""At which clips are re-compressed: hardly visible, and visible (libx264)."""

LONGEST = 96
"""Frames of a clip at most."""

SAMPLE_VIDEOS = 2
"""Of each class of the built-in sample, which is 12 clips of 48 frames."""


@dataclass(frozen=True)
class ComparisonClip:
    """A clip. frames: (T, H, W, 3) uint8; small: X' of them (T, 64, 64, 3) uint8; recompressed: X' of what is left at
    each of CRFS. mover: (T, 64, 64) bool, most of the cell is covered; background: (64, 64) bool, no frame's mover
    touches it; None where it is not known."""

    name: str
    class_name: str
    frames: np.ndarray
    small: np.ndarray
    recompressed: dict[int, np.ndarray] = field(default_factory=dict)
    mover: np.ndarray | None = None
    background: np.ndarray | None = None


def clips_of_cache(cache: Cache, count: int, shortest: int) -> list[tuple[str, str, int]]:
    """video_id, class_name and frames to take of up to `count` videos, evenly spaced over those with `shortest` frames
    or more. Raises UserError where there is none."""
    rows = cache.index[cache.index["frames"] >= shortest]
    if rows.empty:
        raise UserError(f"{cache.layout} has no video of {shortest} frames or more")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]
    return [(r.video_id, r.class_name, min(r.frames, LONGEST)) for r in chosen.itertuples()]


def even_size(cache: Cache) -> tuple[int, int]:
    """Height and width of the stored frames, a row and a column less where libx264 wants them even."""
    height, width = cache.settings.frame_size
    return height // 2 * 2, width // 2 * 2


def comparison_clips(cache: Cache, clips: Sequence[tuple[str, str, int]]) -> Iterator[ComparisonClip]:
    """The clips, from the stored frames, cut to `even_size`."""
    height, width = even_size(cache)
    for video_id, class_name, count in clips:
        frames = np.ascontiguousarray(cache.frames(video_id, 0, count)[:, :height, :width])
        recompressed = {crf: pool_small(recompressed(frames, "25", crf, (height, width))) for crf in CRFS}
        yield ComparisonClip(video_id, class_name, frames, pool_small(frames), recompressed)


def sample_clips(size: tuple[int, int]) -> Iterator[ComparisonClip]:
    """The built-in sample as MP4s decoded at a size, with the movers' masks."""
    for video in draw_sample(SAMPLE_VIDEOS):
        frames = recompressed(video.frames, str(SAMPLE_FPS), CRFS[0], size)
        covered = small_frames(torch.from_numpy(video.masks)[:, None].float())[:, 0].numpy()
        mover, background = covered > 0.5, (covered == 0).all(axis=0)
        yield ComparisonClip(video.video_id, video.class_name, frames, pool_small(frames), {}, mover, background)


def recompressed(frames: np.ndarray, fps: str, crf: int, size: tuple[int, int]) -> np.ndarray:
    """Frames (T, H, W, 3) uint8, H and W even, compressed by libx264 and decoded at a size: (T, *size, 3) uint8. Raises
    OSError where ffmpeg cannot."""
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
