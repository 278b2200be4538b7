"""Pairs of clips over a cache: the query from the stored frames, the key from the motion-preserved ones.

Loaders pass clips on as they are stored, in 8 bits a value; the device that trains makes pixels of them, by `as_video`
and `motion_preserved_video`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.corrections import CorrectionShard, read_corrections
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.frames import read_picked_frames
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.static_cues import add_change_
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule, clip_span
from s2vc.training.choices import LABEL, PAIR_MODES
from s2vc.training.selection import StoredVideo, StoredVideos, check_variants, split_column, training_videos


class MotionClip(NamedTuple):
    """Holds a motion-preserved clip as it is stored: V_p = frames / 255 + upsample(correction · scale).

    frames (L, H, W, 3) uint8 RGB; correction (L, 64, 64, 3) int8; scale () float32.
    """

    frames: Tensor
    correction: Tensor
    scale: Tensor


def as_video(frames: Tensor) -> Tensor:
    """Turn stored frames (N, L, H, W, 3) uint8 into V (N, 3, L, H, W) float32 in [0, 1]."""
    return frames.permute(0, 4, 1, 2, 3).float().div_(255)


def motion_preserved_video(clips: MotionClip) -> Tensor:
    """Turn a batch of motion-preserved clips into V_p (N, 3, L, H, W) float32, about [0, 1], not clamped (Algorithm
    1)."""
    return add_change_(as_video(clips.frames), clips.correction.permute(0, 1, 4, 2, 3).float(), clips.scale)


class ClipDataset(Dataset):
    """Draws clips of the training videos of a cache, anew in each epoch; item i is of the i-th video.

    A draw depends on seed, epoch and i alone. Shards are opened by the process that reads them. What it raises, and
    when, stands at PairClips.
    """

    def __init__(
        self,
        cache: Cache | str | Path,
        clip_length: int,
        frame_step: int,
        split: str | None,
        seed: int,
        variants: Sequence[str | Variant] = (),
        label: str = LABEL,
    ):
        self.cache = cache if isinstance(cache, Cache) else Cache(cache)
        self.clip_length, self.frame_step, self.seed = clip_length, frame_step, seed
        self.split = split_column(self.cache, split)
        self.videos = training_videos(self.cache, split, label)
        self.variants = [v if isinstance(v, Variant) else Variant.parse(v) for v in variants]
        check_variants(self.cache, self.variants, clip_length, frame_step)
        # It is in shared memory, so that loader workers that live on see the epoch change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.videos)

    def __repr__(self) -> str:
        apart = f", {self.frame_step} apart" if self.frame_step > 1 else ""
        variants = "".join(f", {variant.name}" for variant in self.variants)
        what = f"{len(self)} videos, clips of {self.clip_length} frames{apart}"
        return f"{type(self).__name__}({str(self.cache.storage)!r}: {what}{variants})"

    @property
    def video_ids(self) -> list[str]:
        """List the training videos, in the order of items."""
        return self.videos.index["video_id"].tolist()

    @property
    def shards(self) -> np.ndarray:
        """Give the shard of each training video, in the order of items: (videos,) int64."""
        return self.videos.index["shard"].to_numpy(np.int64)

    def leave_out(self, video_ids: Collection[str]) -> None:
        """Leave out some of the training videos, by their ids."""
        self.videos = StoredVideos(self.videos.index[~self.videos.index["video_id"].isin(list(video_ids))])

    def set_epoch(self, epoch: int) -> None:
        """Make all draws new from here on. Call it before each epoch."""
        self._epoch.fill_(epoch)

    def __getitem__(self, item: int) -> Any:
        video = self.videos[item]
        rng = np.random.default_rng([self.seed, int(self._epoch), item])
        with damage_as_user_error(f"a stored clip of {video.video_id}", self.cache.storage):
            return self.draw(video, rng)

    def draw(self, video: StoredVideo, rng: np.random.Generator) -> Any:
        """Draw an item of a video."""
        raise NotImplementedError

    def draw_window(self, video: StoredVideo, rng: np.random.Generator) -> tuple[CorrectionShard, int, np.ndarray]:
        """Draw a variant, and a motion-preserved clip of it: its shard, a window there, and rows (L,) of the window."""
        variant = self.variants[rng.integers(len(self.variants))]
        motion = read_corrections(self.cache.storage.fetch(self.cache.layout.motion(variant, video.shard)))
        windows = motion.windows_of(video.row)
        if variant.rule.scope == "video":
            return motion, int(windows[0]), self.random_rows(video, rng)
        return motion, int(windows[rng.integers(len(windows))]), np.arange(self.clip_length)

    def random_rows(self, video: StoredVideo, rng: np.random.Generator) -> np.ndarray:
        """Draw frame numbers in the video, (L,), of a clip that starts anywhere; a short video is padded."""
        span = clip_span(self.clip_length, self.frame_step)
        if video.frames < span:
            return WindowRule("clip", self.clip_length, self.frame_step).windows(video.frames)[0]
        start = rng.integers(video.frames - span + 1)
        return start + self.frame_step * np.arange(self.clip_length)


class PairClips(ClipDataset):
    """Map-style dataset: item i is a (query clip, key clip) of the i-th training video.

    The query is stored frames (L, H, W, 3) uint8. The key is a MotionClip of one of the variants, drawn per sample;
    without variants it is stored frames, too (plain MoCo). Frames lie `frame_step` apart. Key clips are the variant's
    windows, or start anywhere where its scope is `video`. A video shorter than a clip is padded on the left by its
    first frame, as published. pair: `independent` draws two starts (the published code), `same` draws one.

    Raises UserError for a cache without training videos (see `training_videos` for split), and for a variant that is
    not rendered or does not hold such clips, with the command that renders it; an item raises it where its shard is
    damaged.
    """

    def __init__(
        self,
        cache: Cache | str | Path,
        variants: Sequence[str | Variant] = (),
        clip_length: int = 16,
        frame_step: int = 1,
        pair: str = "independent",
        split: str | None = None,
        seed: int = 0,
    ):
        if pair not in PAIR_MODES:
            raise ValueError(f"pair is one of {', '.join(PAIR_MODES)}, not {pair!r}")
        super().__init__(cache, clip_length, frame_step, split, seed, variants)
        self.pair = pair

    def draw(self, video: StoredVideo, rng: np.random.Generator) -> tuple[Tensor, MotionClip | Tensor]:
        frames = self.cache.storage.fetch(self.cache.layout.frames(video.shard))
        if not self.variants:
            first = self.random_rows(video, rng)
            second = first if self.pair == "same" else self.random_rows(video, rng)
            return read_two_clips(frames, video.first_frame + first, video.first_frame + second)
        motion, window, rows = self.draw_window(video, rng)
        key_frames = motion.frames_of(window)[rows]
        query_frames = key_frames if self.pair == "same" else video.first_frame + self.random_rows(video, rng)
        query, key = read_two_clips(frames, query_frames, key_frames)
        return query, motion_clip(key, motion, window, rows)


class SingleClips(ClipDataset):
    """Map-style dataset: item i is one clip of the i-th training video, with S²VC as an augmentation of it.

    Without variants it is (stored frames (L, H, W, 3) uint8,). With variants it is a MotionClip: with probability
    `preserved` of a variant, drawn per sample, else of stored frames with a correction of zeros, so that its pixels are
    those of V. Clips start anywhere but for those of scope `clip`, which are the variant's windows. PairClips tells how
    short videos are padded, and which errors are raised.
    """

    def __init__(
        self,
        cache: Cache | str | Path,
        variants: Sequence[str | Variant] = (),
        preserved: float = 0.5,
        clip_length: int = 40,
        frame_step: int = 3,
        split: str | None = None,
        seed: int = 0,
    ):
        super().__init__(cache, clip_length, frame_step, split, seed, variants)
        self.preserved = preserved

    def draw(self, video: StoredVideo, rng: np.random.Generator) -> tuple[Tensor] | MotionClip:
        frames = self.cache.storage.fetch(self.cache.layout.frames(video.shard))
        if not self.variants or rng.random() >= self.preserved:
            rows = video.first_frame + self.random_rows(video, rng)
            clip = torch.from_numpy(read_picked_frames(frames, rows))
            correction = torch.zeros(len(clip), SMALL, SMALL, 3, dtype=torch.int8)
            return MotionClip(clip, correction, torch.zeros(())) if self.variants else (clip,)
        motion, window, rows = self.draw_window(video, rng)
        clip = torch.from_numpy(read_picked_frames(frames, motion.frames_of(window)[rows]))
        return motion_clip(clip, motion, window, rows)


class LabelledClips(ClipDataset):
    """Map-style dataset: item i is (stored frames (L, H, W, 3) uint8, class number int64) of the i-th training video.

    A clip starts anywhere in its video, anew in each epoch (`set_epoch`); frames lie `frame_step` apart, and a video
    shorter than a clip is padded on the left by its first frame. `as_video` makes a batch of clips a float video.
    split: the column whose `train` rows are taken; None for the first, "all" for all rows. seed: of the draws.
    still: a clip repeats one frame, its middle one. label: the column of the classes (training.labels). Raises
    UserError where a training video has no label, and for a column that is not there.
    """

    def __init__(
        self,
        cache: Cache | str | Path,
        clip_length: int,
        frame_step: int,
        split: str | None,
        seed: int,
        still: bool = False,
        label: str = LABEL,
    ):
        super().__init__(cache, clip_length, frame_step, split, seed, label=label)
        self.still = still
        unlabelled = np.flatnonzero(self.videos.labels < 0)
        if len(unlabelled):
            raise UserError(
                f"{len(unlabelled)} training videos have no {label}, first {self.videos[int(unlabelled[0])].video_id}"
            )

    @property
    def classes(self) -> int:
        """Count the classes."""
        return int(self.videos.labels.max()) + 1

    def draw(self, video: StoredVideo, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        rows = video.first_frame + self.random_rows(video, rng)
        if self.still:
            rows = np.full_like(rows, rows[len(rows) // 2])
        frames = read_picked_frames(self.cache.storage.fetch(self.cache.layout.frames(video.shard)), rows)
        return torch.from_numpy(frames), torch.tensor(video.label)


def motion_clip(frames: Tensor, motion: CorrectionShard, window: int, rows: np.ndarray) -> MotionClip:
    """Join frames (L, H, W, 3) uint8 with the stored correction of rows (L,) of a window."""
    correction = torch.from_numpy(motion.correction(window, rows))
    return MotionClip(frames, correction, torch.from_numpy(motion.scale)[window])


def read_two_clips(frames: Path, first: np.ndarray, second: np.ndarray) -> tuple[Tensor, Tensor]:
    """Read two clips (L, H, W, 3) uint8 of a shard by their frame numbers (L,); equal ones are decoded once."""
    clip = torch.from_numpy(read_picked_frames(frames, first))
    same = np.array_equal(first, second)
    return clip, clip if same else torch.from_numpy(read_picked_frames(frames, second))
