"""Frames of a few videos as they are, and as variants make them, whether these are rendered or not."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.corrections import WindowRecord, read_corrections
from s2vc.pipeline.cache.latents import READ_FRAMES
from s2vc.pipeline.cache.layout import ENCODE, motion_stage
from s2vc.pipeline.cache.reader import add_change
from s2vc.pipeline.cache.receipts import read_receipt
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.stages.render_shard import Sink, Window, render_windows
from s2vc.pipeline.variants import Variant


@dataclass(frozen=True)
class PreviewedVideo:
    """A video to show: its row in its shard, its number of frames, and stored frames per second."""

    video_id: str
    class_name: str
    shard: int
    row: int
    first_frame: int
    frames: int
    fps: Fraction


@dataclass(frozen=True)
class Strip:
    """One rendering of the frames shown of a video: (n, H, W, 3) uint8; variant None is the original, or what `title`
    says.

    kept, alpha: share of the latents kept and threshold, means over the windows shown. fresh: computed on the fly.
    """

    frames: np.ndarray
    variant: Variant | None = None
    kept: float = 1.0
    alpha: float = 0.0
    fresh: bool = False
    title: str = ""


@dataclass(frozen=True)
class VideoStrips:
    """What is shown of a video: the numbers of its frames (n,), and those frames, original first."""

    subject: PreviewedVideo
    numbers: np.ndarray
    strips: list[Strip]


def find_videos(cache: Cache, video_ids: Sequence[str]) -> list[PreviewedVideo]:
    """The videos of these ids. Raises UserError for an id that is not in the cache or has no frames to show."""
    index = cache.index
    subjects = []
    for video_id in dict.fromkeys(video_ids):
        rows = index[index["video_id"] == video_id]
        if rows.empty:
            raise UserError(
                f"no video {video_id!r} in {cache.layout}; ids are those of index.csv, "
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


def make_strips(cache: Cache, subject: PreviewedVideo, numbers: np.ndarray, variants: Sequence[Variant]) -> VideoStrips:
    """The frames of these numbers (n,) of a video, and what each variant makes of them.

    What is not rendered is computed from the cached latents; in memory are the frames that are shown, and no more of
    the video. Raises UserError where that needs latents that are not there yet.
    """
    strips = {v: _rendered(cache, subject, v, numbers) for v in variants if _is_rendered(cache, subject, v)}
    # One call renders variants of one window rule; tfd is apart, since it must be given its windows whole.
    fresh: dict[object, list[Variant]] = {}
    for variant in variants:
        if variant not in strips:
            fresh.setdefault((variant.rule, variant.strategy == "tfd"), []).append(variant)
    for group in fresh.values():
        strips |= {strip.variant: strip for strip in _computed(cache, subject, group, numbers)}  # type: ignore[misc]
    original = Strip(_frames(cache, subject, numbers))
    return VideoStrips(subject, numbers, [original, *(strips[v] for v in dict.fromkeys(variants))])


def _is_rendered(cache: Cache, subject: PreviewedVideo, variant: Variant) -> bool:
    return read_receipt(cache.layout, motion_stage(variant), subject.shard) is not None


def _frames(cache: Cache, subject: PreviewedVideo, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([cache.frames(subject.video_id, int(n), int(n) + 1) for n in numbers])


def _rendered(cache: Cache, subject: PreviewedVideo, variant: Variant, numbers: np.ndarray) -> Strip:
    places = nearest_places(cache.windows(subject.video_id, variant), numbers)
    frames = [cache.motion_preserved(subject.video_id, variant, w, r, r + 1) for w, r in places]
    shard = read_corrections(cache.layout.motion(variant, subject.shard))
    shown = shard.windows_of(subject.row)[sorted({w for w, _ in places})]
    kept, alpha = float(shard.kept[shown].mean()), float(shard.alpha[shown].mean())
    return Strip(np.concatenate(frames), variant, kept, alpha)


def nearest_places(windows: list[np.ndarray], numbers: np.ndarray) -> list[tuple[int, int]]:
    """Where each frame of these numbers is rendered: (window, row in it).

    Windows far apart, or of every n-th frame, leave frames out: then the nearest one stands in.
    """
    places = [(w, r) for w, window in enumerate(windows) for r in range(len(window))]
    frames = np.concatenate(windows)
    return [places[int(np.abs(frames - n).argmin())] for n in numbers]


class _Shown(Sink):
    """Takes windows that are rendered, and keeps of each the changes of the rows that are wanted, ascending."""

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


def _computed(cache: Cache, subject: PreviewedVideo, variants: list[Variant], numbers: np.ndarray) -> Iterator[Strip]:
    """Variants of one window rule, rendered from the cached latents as `s2vc-prep render` would, for these frames."""
    if read_receipt(cache.layout, ENCODE, subject.shard) is None:
        raise UserError(f"{subject.video_id} is not encoded yet: run `s2vc-prep encode` again to finish the cache")
    windows, places = _needed(subject, variants[0], numbers)
    distinct = sorted(set(places))
    used = sorted({w for w, _ in distinct})
    whole = variants[0].rule.scope == "video"
    jobs = [Window(subject.row, subject.video_id, 0 if whole else w, subject.first_frame + windows[w]) for w in used]
    rows = [[r for v, r in distinct if v == w] for w in used]
    sinks = [_Shown(rows) for _ in variants]
    settings = cache.settings
    flow = _flow(str(cache.layout.flow), settings.flow_fingerprint, settings.precision)
    render_windows(cache.layout, subject.shard, jobs, variants, flow, [*sinks], Path(tempfile.gettempdir()))
    originals = _frames(cache, subject, [windows[w][r] for w, r in places])
    order = [distinct.index(place) for place in places]
    for variant, sink in zip(variants, sinks, strict=True):
        frames = add_change(originals, np.concatenate(sink.changes)[order])
        kept, alpha = np.mean([(r.kept, r.alpha) for r in sink.records], axis=0)
        yield Strip(frames, variant, float(kept), float(alpha), fresh=True)


def _needed(
    subject: PreviewedVideo, variant: Variant, numbers: np.ndarray
) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Windows to render for frames of these numbers, and where each frame is in them: (window, row).

    For scope clip and for tfd, those of the rule. Else the frames alone will do: the STD over the video is cached, and
    random numbers that hold over a window (noise, random) come out as in the whole one. Only shuffle-frame, which
    draws for frame after frame, starts its stream anew. They go in runs, since what lies between is read as well.
    """
    if variant.rule.scope == "clip" or variant.strategy == "tfd":
        windows = variant.rule.windows(subject.frames)
    else:
        windows = np.split(numbers, np.flatnonzero(np.diff(numbers) > READ_FRAMES) + 1)
    return windows, nearest_places(windows, numbers)


@lru_cache(maxsize=1)
def _flow(path: str, fingerprint: str, precision: str) -> Flow:
    # Unlike a worker's: on all cores, since nobody compares the bytes of pictures.
    return load_flow(path, "cuda" if torch.cuda.is_available() else "cpu", precision)
