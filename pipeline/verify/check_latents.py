"""Check the latents of a shard: the arrays of latents.zarr/NNNNN, their chunk files, and the STDs in them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from s2vc.pipeline.cache.latents import (
    HISTOGRAM_BINS,
    READ_FRAMES,
    STORED_AS,
    WRITE_FRAMES,
    array_form,
    read_std_clip_histogram,
    read_std_video,
    read_steps,
)
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.plain_arrays import CRC_BYTES
from s2vc.pipeline.cache.quantise import Q8, STEP, WIDEST_STEP
from s2vc.pipeline.cache.receipts import VideoRecord
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.files import Malformed
from s2vc.pipeline.verify.problem import Problem
from s2vc.pipeline.windows import HISTOGRAM_WINDOW, WindowRule

INDEX_BYTES = WRITE_FRAMES // READ_FRAMES * 16 + CRC_BYTES
"""A zarr-shard ends with an index of this many bytes: offset and length, 8 bytes each, of every chunk that it has room
for, and a checksum."""


def zarr_shards(frames: int) -> int:
    """Return how many zarr-shards, which are files, hold the z of `frames` frames."""
    return -(-frames // WRITE_FRAMES)


def latent_files(frames: int, videos: int, kind: str) -> dict[str, int | None]:
    """Return every file that a shard's group must have, by its path in the group, with its size in bytes.

    The size is None where it does not follow from the numbers of frames and videos: for metadata and compressed z.
    """
    sizes: dict[str, int | None] = {"zarr.json": None}
    arrays = ("z", *(["z_step"] if kind == Q8 else []), "std_video", "std_clip_histogram")
    sizes |= {f"{name}/zarr.json": None for name in arrays}
    if kind == Q8 and frames:
        sizes["z_step/c/0"] = frames * 4 + CRC_BYTES
    for number in range(zarr_shards(frames)):
        chunks = -(-min(WRITE_FRAMES, frames - number * WRITE_FRAMES) // READ_FRAMES)
        raw = READ_FRAMES * LATENTS * np.dtype(STORED_AS[kind]).itemsize
        sizes[f"z/c/{number}/0"] = None if kind == Q8 else chunks * (raw + CRC_BYTES) + INDEX_BYTES
    if videos:
        sizes["std_video/c/0/0"] = videos * LATENTS * 4 + CRC_BYTES
        sizes["std_clip_histogram/c/0/0"] = videos * HISTOGRAM_BINS * 8 + CRC_BYTES
    return sizes


def check_root(layout: Layout) -> Iterable[Problem]:
    """Check that latents.zarr is a Zarr v3 group. Raises Malformed if not."""
    path = layout.all_latents / "zarr.json"
    if not path.is_file():
        raise Malformed("is missing")
    content = files.read_json(path)
    if not isinstance(content, dict) or (content.get("zarr_format"), content.get("node_type")) != (3, "group"):
        raise Malformed("describes no Zarr v3 group")
    return ()


def check_latents(path: Path, where: str, videos: list[VideoRecord], kind: str) -> Iterable[Problem]:
    """Check the shapes and types of the arrays, and that steps, STDs and their counts have possible values.

    z itself is not read. kind: how the cache stores latents. Raises Malformed where a shape or type is wrong.
    """
    frames, count = sum(v.frames for v in videos), len(videos)
    if (stored := array_form(path, "z").dtype) != STORED_AS[kind]:
        raise Malformed(f"z is {stored}, {STORED_AS[kind]} is expected")
    rows = {"z": frames, "std_video": count, "std_clip_histogram": count} | ({"z_step": frames} if kind == Q8 else {})
    for name, expected in rows.items():
        if (found := array_form(path, name).rows) != expected:
            raise Malformed(f"{name} has {found} rows, {expected} are expected")
    if kind == Q8:
        if not _are_steps(read_steps(path)):
            yield Problem(where, f"z_step is not a power of two from {STEP:g} to {WIDEST_STEP:g} everywhere")
        for number in range(zarr_shards(frames)):
            if _is_cut(path / "z" / "c" / str(number) / "0"):
                yield Problem(f"{where}/z/c/{number}/0", "is not as long as its index says")
    held = np.array([v.frames for v in videos], np.int64)
    faults = [*_std_faults(read_std_video(path), held), *_histogram_faults(read_std_clip_histogram(path), held)]
    for video, fault in sorted(faults):
        yield Problem(where, f"{fault} for {videos[video].video_id}")


def _are_steps(step: np.ndarray) -> bool:
    """Return whether all steps (n,) float32 are powers of two from STEP to WIDEST_STEP."""
    fraction, _ = np.frexp(step)
    return bool(((fraction == 0.5) & (step >= STEP) & (step <= WIDEST_STEP)).all())


def _is_cut(path: Path) -> bool:
    """Return whether a zarr-shard is not as long as its chunks and their index together.

    The size of a compressed zarr-shard does not follow from its shape, so the index is the only measure of it.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - INDEX_BYTES))
        places = file.read()[:-CRC_BYTES]
    if len(places) != INDEX_BYTES - CRC_BYTES:
        return True
    lengths = np.frombuffer(places, "<u8")[1::2]
    # The index gives 2^64 - 1 as the length of a chunk that is not stored.
    return int(lengths[lengths != np.iinfo(np.uint64).max].sum()) != size - INDEX_BYTES


def _std_faults(std: np.ndarray, frames: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield each video's number with what is wrong with its STDs. std: (V, 12288) float32; frames: of videos, (V,)."""
    least, most = std.min(axis=1), std.max(axis=1)
    finite = (least >= 0) & (most < np.inf)  # both comparisons are false for what is not a number
    for video in np.flatnonzero(~finite):
        yield int(video), "std_video is not a finite number of 0 or more everywhere"
    for video in np.flatnonzero(finite & (frames < 2) & (most > 0)):
        yield int(video), f"std_video is not 0, with {frames[video]} frames,"


def _histogram_faults(counts: np.ndarray, frames: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield each video's number with what is wrong with its histogram of window STDs: counts (V, 512) int64.

    STDs of 4 and more are in no bin, so there may be fewer counts than windows times latents, but never more.
    """
    rule = WindowRule("clip", HISTOGRAM_WINDOW)
    windows = np.array([rule.count(int(n)) for n in frames], np.int64)
    negative = counts.min(axis=1) < 0
    for video in np.flatnonzero(negative):
        yield int(video), "std_clip_histogram counts less than 0"
    # Each count is compared, too, since a sum of large ones goes round to a small one.
    most = np.maximum(counts.max(axis=1), counts.sum(axis=1))
    for video in np.flatnonzero(~negative & (most > windows * LATENTS)):
        yield int(video), f"std_clip_histogram counts more than the {windows[video]} windows have latents"
