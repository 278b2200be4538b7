"""What of a video a backbone is shown: which windows, in which order of frames, cropped how."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from s2vc.eval.defaults import NATURAL
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.frames import read_picked_frames
from s2vc.pipeline.windows import WindowRule
from s2vc.training.augment import LABEL_JITTER_SHARE, ClipJitter, Normalise, RandomColour, RandomCrop
from s2vc.training.choices import IMAGENET_MEAN, IMAGENET_STD, RGB
from s2vc.training.fixed_crop import CENTRE, fixed_crop

CROP_KINDS = ("centre", "ten", "augmented")
AUGMENTED_SCALE = (0.2, 1.0)
"""An augmented crop covers a share of the frame in this range, as in pre-training."""


@dataclass(frozen=True)
class View:
    """Chooses windows of `frames` frames, `frame_step` apart, by half their length, or so many `clips` spread evenly
    over a video; a short video is padded on the left by its first frame.

    crops: of each window, size x size: `centre`; `ten`: four corners and the centre, each also flipped; `augmented`:
    `draws` random crops and flips, with colours by `augment`: `light` or `full`, as training.settings has it. order: of
    a window's frames, one of defaults.ORDERS. seed: of what is random. mean, std: of the channels, by which they are
    normalised.
    """

    size: int
    frames: int
    frame_step: int = 1
    crops: str = "centre"
    draws: int = 1
    order: str = NATURAL
    seed: int = 0
    augment: str = "light"
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    clips: int | None = None

    @property
    def rule(self) -> "WindowRule | SpreadClips":
        """Give the rule of the windows."""
        if self.clips is not None:
            return SpreadClips(self.frames, self.frame_step, self.clips)
        stride = max(1, self.frames * self.frame_step // 2)
        return WindowRule("clip", self.frames, self.frame_step, stride)

    @property
    def crop_count(self) -> int:
        """Count the crops of a window."""
        return {"centre": 1, "ten": 10, "augmented": self.draws}[self.crops]


@dataclass(frozen=True)
class SpreadClips:
    """Takes so many clips of a video, from its start to its end at even distances, as Xu et al. (2019) take ten for
    retrieval; they overlap, or are the same, in a short one. A video shorter than a clip gives one, padded on the left.
    """

    frames: int
    frame_step: int
    clips: int

    def windows(self, frames: int) -> list[np.ndarray]:
        """Give the frame numbers of each clip of a video of so many frames, (L,) int64 each.

        >>> [w[0] for w in SpreadClips(16, 1, 4).windows(26)]
        [0, 3, 6, 10]
        """
        single = WindowRule("clip", self.frames, self.frame_step)
        if frames <= single.span:
            return single.windows(frames)
        starts = [number * (frames - single.span) // (self.clips - 1) for number in range(self.clips)]
        return [start + self.frame_step * np.arange(self.frames) for start in starts]

    def count(self, frames: int) -> int:
        """Count the clips of a video of so many frames."""
        span = WindowRule("clip", self.frames, self.frame_step).span
        return self.clips if frames > span else int(frames > 0)


class StoredWindows(Dataset):
    """Map-style dataset: the windows of some videos of a cache, (frames, H, W, 3) uint8, in the order of its index.

    rows: of the index, (N,). offsets (index rows + 1,): row i has the items offsets[i] to offsets[i + 1]; rows that
    were not asked for, and failed videos, have none. An item raises UserError where stored frames cannot be read.
    """

    def __init__(self, cache: Cache, rows: np.ndarray, view: View):
        self._cache, self._view = cache, view
        frames = np.zeros(len(cache.index), np.int64)
        frames[rows] = cache.index["frames"].to_numpy()[rows]
        self.offsets = np.concatenate([[0], np.cumsum([view.rule.count(int(n)) for n in frames])])
        self._places = cache.index[["shard", "first_frame", "frames"]].to_numpy()

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, item: int) -> Tensor:
        if item >= len(self):
            raise IndexError(item)
        row = int(np.searchsorted(self.offsets, item, side="right")) - 1
        window = item - int(self.offsets[row])
        shard, first, frames = (int(n) for n in self._places[row])
        numbers = first + self._view.rule.windows(frames)[window]
        video = self._cache.index["video_id"].iloc[row]
        with damage_as_user_error(f"stored frames of {video}", self._cache.storage):
            stored = read_picked_frames(self._cache.storage.fetch(self._cache.layout.frames(shard)), numbers)
        return torch.from_numpy(stored[frame_order(self._view, row, window)])


def frame_order(view: View, row: int, window: int) -> np.ndarray:
    """Give the places (frames,) in a window of the frames to show, in turn, by seed, row of the index and window."""
    natural = np.arange(view.frames)
    if view.order == "still":
        return np.full(view.frames, view.frames // 2)
    if view.order == "shuffled":
        rng = np.random.default_rng([view.seed, row, window])
        while True:
            order = rng.permutation(view.frames)
            if (order != natural).any():
                return order
    return natural


class WindowCrops(nn.Module):
    """Cuts stored windows (N, T, H, W, 3) uint8 into each crop of a view in turn, (N, 3, T, size, size) float32,
    normalised. Crops that are `augmented` are drawn by the view's seed and the number of the batch."""

    def __init__(self, view: View):
        super().__init__()
        self._view = view
        self._crop = RandomCrop(view.size, AUGMENTED_SCALE)
        self._colour = ClipJitter(LABEL_JITTER_SHARE) if view.augment == "light" else RandomColour()
        self._normalise = Normalise(view.mean, view.std)

    def forward(self, stored: Tensor, batch: int, number: int) -> Tensor:
        """Cut crop `number`, 0 to view.crop_count - 1, of the windows of a batch."""
        if self._view.crops == "augmented":
            video = self._augmented(stored, batch, number)
        else:
            position = number % 5 if self._view.crops == "ten" else CENTRE
            video = fixed_crop(stored.permute(0, 4, 1, 2, 3), self._view.size, position)
            video = video.flip(-1) if number >= 5 else video
        return self._normalise(video).contiguous(memory_format=torch.channels_last_3d)

    def _augmented(self, stored: Tensor, batch: int, number: int) -> Tensor:
        seed = np.random.SeedSequence([self._view.seed, batch, number]).generate_state(1, np.uint64)[0]
        with torch.random.fork_rng([stored.device] if stored.device.type == "cuda" else []):
            torch.manual_seed(int(seed))
            return self._colour(self._crop(stored))
