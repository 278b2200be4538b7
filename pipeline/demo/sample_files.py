"""Write the built-in sample as real MP4s with the movers' masks, and measure what suppression leaves of each video."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from s2vc.manifests.sample import SAMPLE_CLASSES, draw_sample
from s2vc.manifests.table import build_table, record_root, write_manifest
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.settings import OWN_CACHE
from s2vc.pipeline.demo.drawn_videos import DrawnFolder

VIDEOS_PER_CLASS = 4
"""The demo draws this many videos of each class, in all 24 videos of 48 frames."""


@dataclass(frozen=True)
class DemoPaths(DrawnFolder):
    """Names the files in a demo folder."""

    @property
    def cache(self) -> Path:
        return self.root / OWN_CACHE

    @property
    def preview(self) -> Path:
        return self.root / "preview.png"


def write_sample(paths: DemoPaths, videos_per_class: int = VIDEOS_PER_CLASS) -> Iterator[str]:
    """Draw the sample, encode it with ffmpeg and write its manifest; yield each video_id once the video is written."""
    rows = []
    for video in draw_sample(videos_per_class):
        rows.append((video.video_id, str(video.label), video.class_name, video.split))
        paths.write(video.video_id, video.frames, video.masks)
        yield video.video_id
    columns = ("video_id", "label", "class_name", "split1")
    record_root(paths.manifest, paths.videos)
    write_manifest(build_table(dict(zip(columns, zip(*rows, strict=True), strict=True))), paths.manifest)


def sample_size(videos_per_class: int = VIDEOS_PER_CLASS) -> int:
    """Return how many videos `write_sample` writes."""
    return videos_per_class * len(SAMPLE_CLASSES)


def contrast_left(cache: Cache, paths: DemoPaths) -> pd.DataFrame:
    """Return what each variant leaves, averaged over the videos, in columns variant, kept, background and mover.

    kept is the share of latents kept. background and mover are shares of the original's contrast, which is the standard
    deviation of grey values over a region of a frame. The mover is what the mask covers in a frame, the background
    what no frame's mask covers.
    """
    rows = []
    for variant in cache.variants():
        contrasts = [_contrast_left(cache, video_id, variant.name, paths) for video_id in cache.index["video_id"]]
        background, mover = np.mean(contrasts, axis=0)
        kept = np.mean([cache.kept(video_id, variant).mean() for video_id in cache.index["video_id"]])
        rows.append((variant.name, float(kept), float(background), float(mover)))
    return pd.DataFrame(rows, columns=["variant", "kept", "background", "mover"])


def _contrast_left(cache: Cache, video_id: str, variant: str, paths: DemoPaths) -> tuple[float, float]:
    """Return the share of contrast that a variant leaves of a video's background and of its mover."""
    original = cache.frames(video_id).mean(axis=-1)
    rendered = cache.motion_preserved(video_id, variant).mean(axis=-1)
    masks = resized_masks(np.load(paths.mask(video_id))["mask"], original.shape[1:])
    still = ~masks.any(axis=0)
    background = rendered[:, still].std(axis=1) / original[:, still].std(axis=1)
    mover = [r[m].std() / o[m].std() for r, o, m in zip(rendered, original, masks, strict=True)]
    return float(background.mean()), float(np.mean(mover))


def resized_masks(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize masks (T, h, w) to `size` (height, width) by taking the nearest pixel: (T, *size)."""
    rows, columns = (np.arange(n) * masks.shape[i + 1] // n for i, n in enumerate(size))
    return masks[:, rows][:, :, columns]
