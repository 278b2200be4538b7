"""Features of the windows of every video: computed once per checkpoint, cache and view, and kept."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from manifests.errors import UserError
from pipeline.cache import Cache
from pipeline.cache.layout import INGEST
from pipeline.frames import read_picked_frames
from pipeline.hdf5 import read_array, read_dataset, write_shard
from pipeline.progress import Advance
from pipeline.windows import WindowRule
from training.augment import Normalise
from training.clips import as_video
from training.loader import Telling, begin_worker, collate_told

BATCH = 16
CENTRE = 0.875
"""A centre crop shows this share of the shorter side: 112 of the 128 pixels that are stored by default."""
CHUNK_WINDOWS = 64


@dataclass(frozen=True)
class View:
    """What of a video a backbone is shown: windows of `frames` frames, `frame_step` apart, by half their length, each
    cropped in the centre to size x size; a short video is padded on the left by its first frame. No augmentation."""

    size: int
    frames: int
    frame_step: int = 1

    @property
    def rule(self) -> WindowRule:
        stride = max(1, self.frames * self.frame_step // 2)
        return WindowRule("clip", self.frames, self.frame_step, stride)


@dataclass(frozen=True)
class Features:
    """Of a whole cache. Row i of the index has the windows offsets[i] to offsets[i + 1]; failed videos have none.

    The features (W, C) float32 are read by slices, so that memory does not grow with the set.
    """

    path: Path

    @property
    def offsets(self) -> np.ndarray:
        return read_array(self.path, "offsets")

    def of(self, row: int) -> np.ndarray:
        """(windows, C) float32 of a row of the index."""
        start, stop = (int(n) for n in self.offsets[row : row + 2])
        return np.asarray(read_dataset(self.path, "features")[start:stop])

    def means(self, rows: np.ndarray) -> np.ndarray:
        """Averaged per video: (len(rows), C) float32. Each row must have frames."""
        return np.stack([self.of(int(row)).mean(axis=0) for row in rows])


def central(video: Tensor, size: int) -> Tensor:
    """Clips (N, 3, T, H, W) -> the centre, resized: (N, 3, T, size, size)."""
    n, _, t, height, width = video.shape
    side = min(height, width) * CENTRE
    top, left = round((height - side) / 2), round((width - side) / 2)
    side = round(side)
    crop = video[..., top : top + side, left : left + side]
    if side == size:
        return crop
    images = crop.transpose(1, 2).flatten(0, 1)
    resized = functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized.unflatten(0, (n, t)).transpose(1, 2)


def fingerprint(cache: Cache, state: dict[str, Tensor], view: View) -> str:
    """Of everything that features depend on: the weights, the stored frames by their receipts, the view."""
    digest = hashlib.sha256(json.dumps(asdict(view)).encode())
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    for shard in range(len(cache.settings.shards())):
        digest.update(cache.layout.receipt(INGEST, shard).read_bytes())
    return digest.hexdigest()


def extract(
    cache: Cache, backbone: nn.Module, view: View, folder: Path, device: torch.device, workers: int, advance: Advance
) -> Features:
    """The features of a cache under a backbone, computed where the folder does not hold them yet.

    backbone: in evaluation mode here, pooled over space and time. Raises UserError where stored frames cannot be read.
    """
    path = folder / f"{fingerprint(cache, backbone.state_dict(), view)[:32]}.h5"
    if not path.exists():
        _write(path, cache, backbone.to(device).eval(), view, device, workers, advance)
    return Features(path)


def _write(
    path: Path, cache: Cache, backbone: nn.Module, view: View, device: torch.device, workers: int, advance: Advance
) -> None:
    windows = StoredWindows(cache, view)
    with write_shard(path) as file:
        stored = file.growing("features", (int(backbone.feature_size),), np.float32, CHUNK_WINDOWS)  # type: ignore[arg-type]
        for batch in _embedded(windows, backbone, view, device, workers):
            stored.append(batch)
            advance(len(batch), len(batch) * view.frames)
        file.put("offsets", windows.offsets)


@torch.no_grad()
def _embedded(
    windows: "StoredWindows", backbone: nn.Module, view: View, device: torch.device, workers: int
) -> Iterator[np.ndarray]:
    normalise = Normalise().to(device)
    half = torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else nullcontext()
    loader: DataLoader[Any] = DataLoader(
        Telling(windows),
        BATCH,
        num_workers=workers,
        collate_fn=collate_told,
        pin_memory=device.type == "cuda",
        worker_init_fn=begin_worker if workers else None,
    )
    for frames in loader:
        if isinstance(frames, UserError):
            raise frames
        clips = normalise(central(as_video(frames.to(device, non_blocking=True)), view.size))
        with half:
            found = backbone(clips.contiguous(memory_format=torch.channels_last_3d))
        yield found.float().mean(dim=(2, 3, 4)).cpu().numpy()


class StoredWindows(Dataset):
    """Map-style dataset: the windows of all videos of a cache, in the order of its index, (frames, H, W, 3) uint8."""

    def __init__(self, cache: Cache, view: View):
        self._cache, self._rule = cache, view.rule
        frames = cache.index["frames"].to_numpy()
        self.offsets = np.concatenate([[0], np.cumsum([window_count(view.rule, int(n)) for n in frames])])
        self._places = cache.index[["shard", "first_frame", "frames"]].to_numpy()

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, item: int) -> Tensor:
        if item >= len(self):
            raise IndexError(item)
        row = int(np.searchsorted(self.offsets, item, side="right")) - 1
        shard, first, frames = (int(n) for n in self._places[row])
        numbers = first + self._rule.windows(frames)[item - int(self.offsets[row])]
        try:
            return torch.from_numpy(read_picked_frames(self._cache.layout.frames(shard), numbers))
        except (OSError, ValueError, KeyError) as error:
            video = self._cache.index["video_id"].iloc[row]
            raise UserError(
                f"stored frames of {video} cannot be read ({error}): run `s2vc-prep verify {self._cache.layout.root}`"
            ) from error


def window_count(rule: WindowRule, frames: int) -> int:
    """How many windows `rule.windows(frames)` gives, without making them."""
    assert rule.clip_length and rule.window_stride
    span = (rule.clip_length - 1) * rule.frame_step + 1
    if frames <= 0:
        return 0
    if frames <= span:
        return 1
    return -(-(frames - span) // rule.window_stride) + 1
