"""Store drawn videos as files: real MP4s, and the movers' masks in a folder next to them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vc.manifests.sample import SAMPLE_FPS
from s2vc.pipeline.choices import CRF
from s2vc.pipeline.stages.video import write_video
from s2vc.pipeline.storage import files


@dataclass(frozen=True)
class DrawnFolder:
    """Names the files in a folder of drawn videos, and writes them."""

    root: Path

    @property
    def videos(self) -> Path:
        return self.root / "videos"

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.csv"

    def mask(self, video_id: str) -> Path:
        """Return the path of a video's mask, an .npz with `mask` (T, H, W) bool."""
        return (self.root / "masks" / video_id).with_suffix(".npz")

    def has(self, video_id: str) -> bool:
        """Return whether a video was written completely, that is, with its mask, which is written last."""
        return (self.videos / video_id).exists() and self.mask(video_id).exists()

    def write(self, video_id: str, frames: np.ndarray, masks: np.ndarray, crf: int = CRF) -> None:
        """Encode frames (T, H, W, 3) uint8 with ffmpeg, and store masks (T, H, W) bool. Raises OSError on failure."""
        height, width = frames.shape[1:3]
        with (
            files.attempt(self.videos / video_id) as aside,
            write_video(aside, height, width, str(SAMPLE_FPS), crf) as write,
        ):
            write(frames)
        with files.attempt(self.mask(video_id)) as aside, aside.open("wb") as file:
            np.savez_compressed(file, mask=masks)
