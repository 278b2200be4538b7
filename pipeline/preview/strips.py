"""Collect the frames of a few videos, original and as each variant, whether the variant is rendered or not."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.corrections import WindowRecord, read_corrections
from s2vc.pipeline.cache.latents import READ_FRAMES
from s2vc.pipeline.cache.layout import ENCODE, motion_stage
from s2vc.pipeline.cache.reader import add_change_to_frames
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.stages.render_shard import Sink, Window, render_windows
from s2vc.pipeline.variants import Variant


@dataclass(frozen=True)
class PreviewedVideo:
    """Describes a video to show. row: its row in its shard; frames: how many it has; fps: stored frames per second."""

    video_id: str
    class_name: str
    shard: int
    row: int
    first_frame: int
    frames: int
    fps: Fraction


@dataclass(frozen=True)
class Strip:
    """Holds the frames shown of a video, (n, H, W, 3) uint8, original or as one variant.

    variant: None for the original, or for what `title` says. kept, alpha: the share of latents kept, 0 to 1, and the
    threshold, both means over the windows shown. fresh: computed for this picture, not read from the cache.
    """

    frames: np.ndarray
    variant: Variant | None = None
    kept: float = 1.0
    alpha: float = 0.0
    fresh: bool = False
    title: str = ""


@dataclass(frozen=True)
class VideoStrips:
    """Holds what is shown of a video: the numbers of its frames (n,), and a strip of these frames for the original,
    which comes first, and for each variant."""

    subject: PreviewedVideo
    numbers: np.ndarray
    strips: list[Strip]


def find_videos(cache: Cache, video_ids: Sequence[str]) -> list[PreviewedVideo]:
    """Find the videos with these ids, each once. Raises UserError for an id that is unknown or has no frames."""
    index = cache.index
    subjects = []
    for video_id in dict.fromkeys(video_ids):
        rows = index[index["video_id"] == video_id]
        if rows.empty:
            raise UserError(
                f"no video {video_id!r} in {cache.storage}; ids are those of index.csv, "
                f"such as {index['video_id'].iloc[0]!r}"
            )
        video = rows.iloc[0]
        if not video["status"]:
            raise UserError(f"{video_id} is not encoded yet: run `s2vc-prep encode` again to finish the cache")
        if not video["frames"]:
            raise UserError(f"{video_id} failed and has no frames: {video['reason']}")
        place = (*cache.shard_and_row(video_id), int(video["first_frame"]), int(video["frames"]))
        subjects.append(PreviewedVideo(video_id, video["class_name"], *place, cache.frame_rate(video_id)))
    return subjects


def make_strips(
    cache: Cache, subject: PreviewedVideo, numbers: np.ndarray, variants: Sequence[Variant], device: str | None = None
) -> VideoStrips:
    """Return the frames of a video with these numbers (n,), original and as each variant.

    A variant that is not rendered is computed from the cached latents. Only the frames that are shown are held in
    memory. Raises UserError if latents are needed that are not encoded yet.
    """
    strips = {v: _rendered(cache, subject, v, numbers) for v in variants if _is_rendered(cache, subject, v)}
    # One call renders all variants of one window rule. tfd has a call of its own, since it needs whole windows.
    fresh: dict[object, list[Variant]] = {}
    for variant in variants:
        if variant not in strips:
            fresh.setdefault((variant.rule, variant.strategy == "tfd"), []).append(variant)
    for group in fresh.values():
        strips |= {strip.variant: strip for strip in _computed(cache, subject, group, numbers, device)}  # type: ignore[misc]
    original = Strip(_frames(cache, subject, numbers))
    return VideoStrips(subject, numbers, [original, *(strips[v] for v in dict.fromkeys(variants))])


def _is_rendered(cache: Cache, subject: PreviewedVideo, variant: Variant) -> bool:
    return cache.storage.fetch_receipt(motion_stage(variant), subject.shard) is not None


def _frames(cache: Cache, subject: PreviewedVideo, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([cache.frames(subject.video_id, int(n), int(n) + 1) for n in numbers])


def _rendered(cache: Cache, subject: PreviewedVideo, variant: Variant, numbers: np.ndarray) -> Strip:
    """Read the strip of a rendered variant from the cache."""
    places = nearest_places(cache.windows(subject.video_id, variant), numbers)
    frames = [cache.motion_preserved(subject.video_id, variant, w, r, r + 1) for w, r in places]
    shard = read_corrections(cache.storage.fetch(cache.layout.motion(variant, subject.shard)))
    shown = shard.windows_of(subject.row)[sorted({w for w, _ in places})]
    kept, alpha = float(shard.kept[shown].mean()), float(shard.alpha[shown].mean())
    return Strip(np.concatenate(frames), variant, kept, alpha)


def nearest_places(windows: list[np.ndarray], numbers: np.ndarray) -> list[tuple[int, int]]:
    """Return where each frame of these numbers is rendered, as (window, row in the window).

    windows: the frame numbers of each window. Windows that are far apart, or that take every n-th frame, leave frames
    out; the nearest rendered frame stands in for such a frame.
    """
    places = [(w, r) for w, window in enumerate(windows) for r in range(len(window))]
    frames = np.concatenate(windows)
    return [places[int(np.abs(frames - n).argmin())] for n in numbers]


class _Shown(Sink):
    """Receives windows as they are rendered, and keeps the changes of the wanted rows of each.

    wanted: for each window the rows to keep, in ascending order.
    """

    def __init__(self, wanted: list[list[int]]):
        self._wanted = iter(wanted)
        self.records: list[WindowRecord] = []
        self.changes: list[np.ndarray] = []

    def add(self, record: WindowRecord, peak: float, changes: Iterator[np.ndarray]) -> None:
        self.records.append(record)
        wanted, first = np.array(next(self._wanted)), 0
        for change in changes:
            rows = wanted[(wanted >= first) & (wanted < first + len(change))]
            self.changes.append(change[rows - first])
            first += len(change)


def _computed(
    cache: Cache, subject: PreviewedVideo, variants: list[Variant], numbers: np.ndarray, device: str | None
) -> Iterator[Strip]:
    """Render variants of one window rule from the cached latents, as `s2vc-prep render` would, for these frames only.

    Yields a strip for each variant. Raises UserError if the video is not encoded yet.
    """
    if cache.storage.fetch_receipt(ENCODE, subject.shard) is None:
        raise UserError(f"{subject.video_id} is not encoded yet: run `s2vc-prep encode` again to finish the cache")
    windows, places = _needed(subject, variants[0], numbers)
    distinct = sorted(set(places))
    used = sorted({w for w, _ in distinct})
    whole = variants[0].rule.scope == "video"
    jobs = [Window(subject.row, subject.video_id, 0 if whole else w, subject.first_frame + windows[w]) for w in used]
    rows = [[r for v, r in distinct if v == w] for w in used]
    sinks = [_Shown(rows) for _ in variants]
    settings = cache.settings
    flow = _flow(
        str(cache.storage.fetch(cache.layout.flow)),
        settings.flow_fingerprint,
        settings.precision,
        str(choose_device(device)),
    )
    latents, small = cache.storage.latent_group(subject.shard), cache.storage.fetch(cache.layout.small(subject.shard))
    render_windows(latents, small, subject.shard, jobs, variants, flow, [*sinks], Path(tempfile.gettempdir()))
    originals = _frames(cache, subject, [windows[w][r] for w, r in places])
    order = [distinct.index(place) for place in places]
    for variant, sink in zip(variants, sinks, strict=True):
        frames = add_change_to_frames(originals, np.concatenate(sink.changes)[order])
        kept, alpha = np.mean([(r.kept, r.alpha) for r in sink.records], axis=0)
        yield Strip(frames, variant, float(kept), float(alpha), fresh=True)


def _needed(
    subject: PreviewedVideo, variant: Variant, numbers: np.ndarray
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Return the windows to render for frames of these numbers, and where each frame lies in them, as (window, row).

    Scope clip and tfd need the windows of the rule. Otherwise the frames alone are enough: the STD over the video is
    cached, and random numbers that hold for a whole window (noise, random) come out the same. Only shuffle-frame, which
    draws anew for each frame, comes out differently from what is rendered. The frames are split into runs where they
    lie far apart, since all latents between the first and the last frame of a window are read.
    """
    if variant.rule.scope == "clip" or variant.strategy == "tfd":
        windows = variant.rule.windows(subject.frames)
    else:
        windows = np.split(numbers, np.flatnonzero(np.diff(numbers) > READ_FRAMES) + 1)
    return windows, nearest_places(windows, numbers)


@lru_cache(maxsize=1)
def _flow(path: str, fingerprint: str, precision: str, device: str) -> Flow:
    # Unlike in a worker, the flow may use a GPU or all cores: a preview need not be the same byte by byte everywhere.
    return load_flow(path, device, precision)
