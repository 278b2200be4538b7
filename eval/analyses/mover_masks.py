"""Masks of what moves, which `s2vc-prep sample` and `s2vc-prep demo` write beside their videos, and how much of a map
lies on them."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.settings import SQUEEZE


@dataclass(frozen=True)
class MoverMasks:
    """Reads the masks of a cache's videos from a folder: of VIDEO.mp4 it is VIDEO.npz, with `mask` (T, H, W) bool."""

    folder: Path
    cache: Cache

    def path(self, row: int) -> Path:
        """Give the path of the mask of a row of the index."""
        return (self.folder / str(self.cache.index["video_id"].iloc[row])).with_suffix(".npz")

    def check(self, rows: np.ndarray) -> None:
        """Raise UserError where a row has no mask, and for stored frames that were cut: masks are of whole frames."""
        if self.cache.settings.fit != SQUEEZE:
            raise UserError(
                f"masks are of whole frames, and those of {self.cache.storage} were cut: encode without --fit"
            )
        absent = [self.path(int(row)) for row in rows if not self.path(int(row)).is_file()]
        if absent:
            raise UserError(f"{len(absent)} of {len(rows)} videos have no mask, first {absent[0]}")

    def of_frames(self, row: int, numbers: np.ndarray) -> Tensor:
        """Read how much of each pixel of some stored frames (n,) of a row's video is covered, 0 to 1: (n, H, W)
        float32, of the stored size. Raises UserError for a file that is no mask of the video's frames."""
        path, (height, width) = self.path(row), self.cache.settings.frame_size
        try:
            with np.load(path, allow_pickle=False) as content:
                mask = content["mask"][:: self.cache.settings.frame_step]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is no mask: {error}") from None
        frames = int(self.cache.index["frames"].iloc[row])
        if mask.ndim != 3 or len(mask) != frames:
            raise UserError(f"{path} has masks of shape {mask.shape}, and the video has {frames} stored frames")
        covered = torch.from_numpy(mask[numbers].astype(np.float32))
        return functional.interpolate(covered[None], (height, width), mode="area")[0]


def share_on_mask(maps: np.ndarray, cover: np.ndarray) -> float:
    """Compute the share of what is positive in maps (W, T', H', W') that lies on a mask, the mean over windows W.

    cover: how much of each place the mask covers, 0 to 1, of the same shape. A map that is the same everywhere has the
    mask's share of the area. NaN where nothing is positive.
    """
    positive = np.maximum(maps, 0).reshape(len(maps), -1).astype(np.float64)
    total = positive.sum(axis=1)
    shares = (positive * cover.reshape(len(cover), -1)).sum(axis=1)[total > 0] / total[total > 0]
    return float(shares.mean()) if len(shares) else float("nan")
