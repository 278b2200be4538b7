"""Check rendered variants: variant.json, and the corrections of a shard in motion/VARIANT/NNNNN.h5."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.corrections import CorrectionShard
from s2vc.pipeline.cache.receipts import VideoRecord
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.files import Malformed
from s2vc.pipeline.storage.hdf5 import read_shard, whole_array
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.verify.check_frames import frame_offsets
from s2vc.pipeline.verify.hdf5_datasets import checked_dataset
from s2vc.pipeline.verify.problem import Problem
from s2vc.pipeline.windows import WindowRule

PIECE_FRAMES = 256
"""This many frames' corrections are read at a time, which takes 3 MB."""


def check_variant_settings(storage: CacheStorage, variant: Variant) -> Iterable[Problem]:
    """Check that variant.json describes the variant that its folder is named after. Raises Malformed if not."""
    try:
        found = Variant.from_json(files.read_json(storage.fetch(storage.layout.variant_settings(variant))))
    except FileNotFoundError:
        raise Malformed("is missing") from None
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise Malformed("does not describe a variant") from None
    if found != variant:
        raise Malformed(f"describes {found.name}, its folder is {variant.name}")
    return ()


def check_corrections(
    path: Path, where: str, variant: Variant, videos: list[VideoRecord], quick: bool
) -> Iterable[Problem]:
    """Check the corrections of one shard: its windows are those of the variant's rule, and scale, kept and alpha have
    possible values. Unless `quick`, also check that a window that keeps every latent changes no frame.

    path: the shard's HDF5 file; where: its name in messages; videos: those of its receipt. Raises Malformed where the
    datasets do not fit each other or the rule.
    """
    shard = _read(path, variant, videos)
    _check_windows(shard, variant, videos)
    yield from _check_levels(shard, where, variant)
    if not quick:
        for window in np.flatnonzero(shard.kept == 1):
            if _changes(path, *(int(n) for n in shard.window_offsets[window : window + 2])):
                yield Problem(where, f"window {window} changes its frames, though it keeps every latent")


def _read(path: Path, variant: Variant, videos: list[VideoRecord]) -> CorrectionShard:
    """Read the small arrays after checking that their shapes fit each other.

    Raises Malformed before an absurdly large array would be read.
    """
    file = read_shard(path)
    scale = checked_dataset(file, "scale", np.float32, (None,))
    window_frames = checked_dataset(file, "window_frames", np.int64, (None,))
    windows, rows = len(scale), len(window_frames)
    small = {
        "scale": scale,
        "window_offsets": checked_dataset(file, "window_offsets", np.int64, (windows + 1,)),
        "window_video": checked_dataset(file, "window_video", np.int64, (windows,)),
        "window_frames": window_frames,
        "alpha": checked_dataset(file, "alpha", np.float32, (windows,)),
        "kept": checked_dataset(file, "kept", np.float32, (windows,)),
    }
    checked_dataset(file, "correction", np.int8, (rows, SMALL, SMALL, 3))
    # A variant's name and a receipt may claim any number of rows, but the file bounds how many can be stored.
    least = sum(_least_rows(variant.rule, v.frames) for v in videos)
    if rows < least:
        raise Malformed(f"has {rows} window rows, {least} or more are expected")
    return CorrectionShard(path, **{name: whole_array(dataset, str(path)) for name, dataset in small.items()})


def _least_rows(rule: WindowRule, frames: int) -> int:
    """Return how many rows the windows of a video have at least: the extra last window, which ends with the video
    where frames remain, is not counted."""
    if rule.clip_length is None or rule.window_stride is None or not frames:
        return frames
    return rule.clip_length * (1 + max(frames - rule.span, 0) // rule.window_stride)


def _check_windows(shard: CorrectionShard, variant: Variant, videos: list[VideoRecord]) -> None:
    """Raise Malformed unless window_video, window_offsets and window_frames are those that the variant's rule gives for
    the videos of the receipt."""
    offsets, begin, first = shard.window_offsets, frame_offsets(videos), 0
    if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(shard.window_frames):
        raise Malformed("window_offsets do not rise from 0 to the number of window rows")
    for video, record in enumerate(videos):
        expected = variant.rule.windows(record.frames)
        stop = first + len(expected)
        of = f"of {record.video_id} are not those of {variant.name}"
        if not np.array_equal(np.flatnonzero(shard.window_video == video), np.arange(first, stop)):
            raise Malformed(f"the numbers of the windows {of}")
        if not np.array_equal(np.diff(offsets[first : stop + 1]), [len(w) for w in expected]):
            raise Malformed(f"the lengths of the windows {of}")
        if expected:
            frames = np.concatenate(expected) + begin[video]
            if not np.array_equal(shard.window_frames[offsets[first] : offsets[stop]], frames):
                raise Malformed(f"the frames of the windows {of}")
        first = stop
    if first != len(shard.window_video):
        raise Malformed(f"has {len(shard.window_video)} windows, {first} are expected")


def _check_levels(shard: CorrectionShard, where: str, variant: Variant) -> Iterable[Problem]:
    """Yield a problem for each of scale, kept and alpha that has an impossible value, naming the first such window."""
    wrong = {
        "scale is not a finite number of 0 or more": ~(np.isfinite(shard.scale) & (shard.scale >= 0)),
        "kept is not a share of 0 to 1": ~((shard.kept >= 0) & (shard.kept <= 1)),
        "alpha is not a finite number": ~np.isfinite(shard.alpha),
    }
    if variant.alpha is not None:
        wrong[f"alpha is not {variant.alpha}"] = shard.alpha != np.float32(variant.alpha)
    for what, windows in wrong.items():
        if windows.any():
            yield Problem(where, f"{what} in window {int(windows.argmax())}")


def _changes(path: Path, start: int, stop: int) -> bool:
    """Return whether any correction in rows `start` up to `stop` is not 0."""
    correction = read_shard(path)["correction"]
    return any(correction[begin : min(begin + PIECE_FRAMES, stop)].any() for begin in range(start, stop, PIECE_FRAMES))
