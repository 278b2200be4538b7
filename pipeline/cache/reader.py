"""Other programs read a cache through the class `Cache`."""

from fractions import Fraction
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import corrections, frames, latents
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.index import read_index
from s2vc.pipeline.cache.layout import INGEST, Layout, motion_stage
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.pictures import ClipPicture, table_html
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.variants import Variant, variants_named

USUAL_RATE = Fraction(25)
"""A video whose header gives no rate is taken to have this many frames per second."""
MAX_RATE = 1000
"""No more frames per second than these are believed."""


class Cache:
    """This is a cache of `s2vc-prep encode`, open for reading.

    location: a folder, or a URL (s3://…). Shards of a URL are copied to local_cache [default: s2vc in the user's cache
    folder], which takes at most local_cache_size ("50GB"). Opening reads cache.json and index.csv. A shard is opened
    when it is asked for, by the process that asks, so that a Cache may be sent to workers. Raises UserError if there is
    no cache. Methods raise KeyError for a video that is not in the cache, IndexError for frames outside the video, and
    UserError for a variant that is not rendered.
    """

    def __init__(self, location: str | Path | CacheStorage, local_cache: str | Path = "", local_cache_size: str = ""):
        self.storage = open_storage(location, local_cache, local_cache_size)
        self.settings = read_settings(self.storage)
        self.index: pd.DataFrame = read_index(self.storage)
        """The index has one row per video: video_id, label, class_name, split columns, the manifest's further ones,
        shard, first_frame, frames, status, reason."""
        self._rows = {video_id: row for row, video_id in enumerate(self.index["video_id"])}
        self._row_in_shard = self.index.groupby("shard").cumcount().to_numpy()
        self._latest_rates: tuple[int, list[str]] = (-1, [])

    def __repr__(self) -> str:
        height, width = self.settings.frame_size
        videos, total = len(self.index), int(self.index["frames"].sum())
        return f"Cache({str(self.storage)!r}: {videos} videos, {total} frames of {height}x{width})"

    def _repr_html_(self) -> str:
        height, width = self.settings.frame_size
        counts = self.index["status"].value_counts()
        facts = {
            "videos": ", ".join(f"{count} {status}" for status, count in counts.items()),
            "frames": f"{int(self.index['frames'].sum()):,} of {height}x{width}",
            "splits": ", ".join(split_columns(self.index)) or "none",
            "rendered": ", ".join(variant.name for variant in self.variants()) or "nothing",
        }
        return table_html(str(self.storage), facts)

    def show(self, video_id: str, *variants: str | Variant, frames: int = 8) -> ClipPicture:
        """Return a picture of a video, which a notebook draws: so many frames, evenly spaced, as they are and as each
        variant leaves them; without variants, as all that are rendered for it.

        Frames are those that the first windows of all these variants have in common. Raises UserError for a video
        without frames.
        """
        shard, _ = self.shard_and_row(video_id)
        count = int(self.index["frames"].iloc[self._row(video_id)])
        if count == 0:
            raise UserError(f"{video_id} has no frames to show")
        shown = [Variant.parse(v) if isinstance(v, str) else v for v in variants] or [
            variant for variant in self.variants() if shard not in self.unrendered_shards(variant)
        ]
        starts = [self.windows(video_id, variant)[0] for variant in shown]
        common = reduce(np.intersect1d, starts, np.arange(count))
        chosen = np.unique(np.linspace(0, len(common) - 1, min(max(frames, 1), len(common))).round().astype(int))
        numbers = common[chosen].tolist()
        rows = {"original": np.concatenate([self.frames(video_id, n, n + 1) for n in numbers])}
        for variant, window in zip(shown, starts, strict=True):
            places = [int(np.flatnonzero(window == n)[-1]) for n in numbers]
            rows[variant.name] = self.motion_preserved(video_id, variant)[places]
        return ClipPicture(video_id, numbers, rows)

    @property
    def layout(self) -> Layout:
        return self.storage.layout

    def frames(self, video_id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return stored frames start to stop of a video: (T, H, W, 3) uint8 RGB."""
        shard, begin, end = self._slice(video_id, start, stop)
        if begin == end:
            return np.zeros((0, *self.settings.frame_size, 3), np.uint8)
        return frames.read_frames(self.storage.fetch(self.layout.frames(shard)), begin, end)

    def small(self, video_id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return X', the flow's input, of frames start to stop of a video: (T, 64, 64, 3) uint8 RGB."""
        shard, begin, end = self._slice(video_id, start, stop)
        return frames.read_small(self.storage.fetch(self.layout.small(shard)), begin, end)

    def latents(self, video_id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return z of frames start to stop of a video: (T, 12288) float16, or float32 after --latents float32."""
        shard, begin, end = self._slice(video_id, start, stop)
        return latents.read_latents(self.storage.latent_group(shard), begin, end)

    def std(self, video_id: str) -> np.ndarray:
        """Return the STD of the latents over the complete video, n - 1 in the denominator: (12288,) float32."""
        shard, row = self.shard_and_row(video_id)
        return latents.read_std_video(self.storage.latent_group(shard))[row]

    def std_clip_histogram(self, video_id: str) -> np.ndarray:
        """Return the STDs over windows of 16 frames, counted in 512 bins over [0, 4): (512,) int64."""
        shard, row = self.shard_and_row(video_id)
        return latents.read_std_clip_histogram(self.storage.latent_group(shard))[row]

    def frame_rate(self, video_id: str) -> Fraction:
        """Return the frames per second at which the stored frames of a video, every `frame_step`-th one, play in time.

        It is 25 / frame_step if the header gives no rate, or one beyond MAX_RATE: some give a clock's, such as 90000.
        """
        shard, row = self.shard_and_row(video_id)
        if shard != self._latest_rates[0]:
            receipt = self.storage.fetch_receipt(INGEST, shard)
            self._latest_rates = shard, [video.fps for video in receipt.videos] if receipt else []
        rates = self._latest_rates[1]
        return stored_rate(rates[row] if row < len(rates) else "", self.settings.frame_step)

    def variants(self) -> list[Variant]:
        """Return the variants that have been rendered, or begun, in the order of their names."""
        return variants_named(self.storage.variant_names())

    def unrendered_shards(self, variant: Variant) -> list[int]:
        """Return the shards in which a variant is not rendered, by one listing of its receipts; no file is opened."""
        done = self.storage.finished(motion_stage(variant))
        return [shard for shard in self.index["shard"].unique().tolist() if shard not in done]

    def windows(self, video_id: str, variant: str | Variant) -> list[np.ndarray]:
        """Return the frame numbers in the video of each window of a rendered variant: (L,) int64 each."""
        shard, row = self._motion(video_id, variant)
        first = self._first_frame(video_id)
        return [shard.frames_of(w) - first for w in shard.windows_of(row)]

    def kept(self, video_id: str, variant: str | Variant) -> np.ndarray:
        """Return the share of the latents that each window of a variant kept, 0 to 1: (windows,) float32."""
        shard, row = self._motion(video_id, variant)
        return shard.kept[shard.windows_of(row)]

    def motion_preserved(
        self,
        video_id: str,
        variant: str | Variant,
        window: int = 0,
        start: int = 0,
        stop: int | None = None,
    ) -> np.ndarray:
        """Return V_p of rows start to stop of a window, clipped to 8 bits for viewing: (L, H, W, 3) uint8 RGB."""
        shard, row = self._motion(video_id, variant)
        number = int(shard.windows_of(row)[window])
        rows = range(*slice(start, stop).indices(len(shard.frames_of(number))))
        numbers = shard.frames_of(number)[rows.start : rows.stop]
        change = shard.change(number, rows.start, rows.stop)
        path = self.storage.fetch(self.layout.frames(self.shard_and_row(video_id)[0]))
        return add_change_to_frames(frames.read_picked_frames(path, numbers), change)

    def _motion(self, video_id: str, variant: str | Variant) -> tuple[corrections.CorrectionShard, int]:
        parsed = Variant.parse(variant) if isinstance(variant, str) else variant
        shard, row = self.shard_and_row(video_id)
        path = self.storage.fetch(self.layout.motion(parsed, shard))
        if not path.exists():
            raise UserError(f"{parsed.name} is not rendered for {video_id}: run `s2vc-prep render` first")
        return corrections.read_corrections(path), row

    def _row(self, video_id: str) -> int:
        if video_id not in self._rows:
            raise KeyError(f"no video {video_id!r} in {self.storage}")
        return self._rows[video_id]

    def shard_and_row(self, video_id: str) -> tuple[int, int]:
        """Return the shard of a video, and the video's row among the videos of that shard."""
        row = self._row(video_id)
        return int(self.index["shard"].iloc[row]), int(self._row_in_shard[row])

    def _first_frame(self, video_id: str) -> int:
        return int(self.index["first_frame"].iloc[self._row(video_id)])

    def _slice(self, video_id: str, start: int, stop: int | None) -> tuple[int, int, int]:
        """Return the shard of a video, and where frames start to stop of the video lie in it."""
        shard, _ = self.shard_and_row(video_id)
        count = int(self.index["frames"].iloc[self._row(video_id)])
        stop = count if stop is None else stop
        if not 0 <= start <= stop <= count:
            raise IndexError(f"{video_id} has {count} frames; {start} to {stop} were asked for")
        first = self._first_frame(video_id)
        return shard, first + start, first + stop


def stored_rate(fps: str, frame_step: int) -> Fraction:
    """Return the rate of stored frames, from the header's rate as a receipt has it; see `Cache.frame_rate`.

    >>> stored_rate("30000/1001", 2)
    Fraction(15000, 1001)
    """
    try:
        rate = Fraction(fps)
    except (ValueError, TypeError, ZeroDivisionError):
        rate = USUAL_RATE
    return (rate if 0 < rate <= MAX_RATE else USUAL_RATE) / frame_step


def add_change_to_frames(clip: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return V + upsample(change), rounded and clipped to 8 bits: (L, H, W, 3) uint8.

    clip: (L, H, W, 3) uint8. change: (L, 64, 64, 3) float32, in units of the range, 0 to 1.
    """
    import torch  # Who only looks into a cache does without.

    from s2vc.pipeline.static_cues import add_change_

    video = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float()
    changed = add_change_(video, torch.from_numpy(change).permute(0, 3, 1, 2)[None], 255.0)
    return changed[0].permute(1, 2, 3, 0).round().clamp(0, 255).to(torch.uint8).numpy()
