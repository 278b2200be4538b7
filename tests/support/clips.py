"""Draw videos for tests and encode them with ffmpeg."""

from pathlib import Path

import numpy as np

from s2vc.pipeline.stages.video import write_video


def moving_square(frames: int, height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """Draw a bright square that moves over a still, textured background: (frames, height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (height // 8, width // 8, 3))
    video = np.repeat(np.kron(coarse, np.ones((8, 8, 1)))[None].astype(np.uint8), frames, 0)
    for t in range(frames):
        left, top = 5 + (3 * t + 7 * seed) % (width - 30), 20 + (t + 11 * seed) % (height - 50)
        video[t, top : top + 24, left : left + 20] = rng.integers(150, 256, 3)
    return video


def write_clip(path: Path, frames: np.ndarray, fps: str = "25") -> None:
    """Write frames (T, H, W, 3) uint8 as an MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_video(path, *frames.shape[1:3], fps) as write:
        write(frames)
