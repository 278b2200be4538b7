"""Checks of the latents of a shard: the arrays of latents.zarr/NNNNN, their chunk files, and the STDs in them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline import files
from pipeline.cache.layout import Layout
from pipeline.cache.receipts import VideoRecord
from pipeline.files import Malformed
from pipeline.flow.model import LATENTS
from pipeline.latents import (
    HISTOGRAM_BINS,
    READ_FRAMES,
    STORED_AS,
    WRITE_FRAMES,
    open_array,
    read_std_clip_histogram,
    read_std_video,
    read_steps,
)
from pipeline.quantise import Q8, STEP, WIDEST_STEP
from pipeline.verify.problem import Problem
from pipeline.windows import HISTOGRAM_WINDOW, WindowRule

CRC_BYTES = 4
INDEX_BYTES = WRITE_FRAMES // READ_FRAMES * 16 + CRC_BYTES
"""A zarr-shard ends with where its chunks lie: offset and length, 8 bytes each, of every one it could have."""

RAW, PACKED = ["Crc32cCodec"], ["TransposeCodec", "ZstdCodec", "Crc32cCodec"]


def zarr_shards(frames: int) -> int:
    """Files that hold the z of so many frames."""
    return -(-frames // WRITE_FRAMES)


def latent_files(frames: int, videos: int, kind: str) -> dict[str, int | None]:
    """Every file of a shard's group, and its size in bytes where that follows from what is stored, uncompressed."""
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
    """latents.zarr is a Zarr v3 group."""
    path = layout.all_latents / "zarr.json"
    if not path.is_file():
        raise Malformed("is missing")
    content = files.read_json(path)
    if not isinstance(content, dict) or (content.get("zarr_format"), content.get("node_type")) != (3, "group"):
        raise Malformed("describes no Zarr v3 group")
    return ()


def check_latents(path: Path, where: str, videos: list[VideoRecord], kind: str) -> Iterable[Problem]:
    """Shapes and types of the arrays; steps, STDs and their counts are such as can be. z itself is not read."""
    frames, count = sum(v.frames for v in videos), len(videos)
    zarr_shard = (WRITE_FRAMES, LATENTS)
    _check_array(path, "z", (frames, LATENTS), (READ_FRAMES, LATENTS), STORED_AS[kind], zarr_shard, kind == Q8)
    if kind == Q8:
        _check_array(path, "z_step", (frames,), (max(frames, 1),), "float32")
        if not _are_steps(read_steps(path)):
            yield Problem(where, f"z_step is not a power of two from {STEP:g} to {WIDEST_STEP:g} everywhere")
        for number in range(zarr_shards(frames)):
            if _is_cut(path / "z" / "c" / str(number) / "0"):
                yield Problem(f"{where}/z/c/{number}/0", "is not as long as its index says")
    _check_array(path, "std_video", (count, LATENTS), (max(count, 1), LATENTS), "float32")
    _check_array(path, "std_clip_histogram", (count, HISTOGRAM_BINS), (max(count, 1), HISTOGRAM_BINS), "int64")
    std, histogram = read_std_video(path), read_std_clip_histogram(path)
    for video, own_std, own_counts in zip(videos, std, histogram, strict=True):
        for fault in (_std_fault(own_std, video.frames), _histogram_fault(own_counts, video.frames)):
            if fault:
                yield Problem(where, f"{fault} for {video.video_id}")


def _check_array(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: str,
    zarr_shard: tuple[int, ...] | None = None,
    packed: bool = False,
) -> None:
    array = open_array(path, name)
    if array.shape != shape:
        raise Malformed(f"{name} is {array.shape}, {shape} is expected")
    if array.dtype != np.dtype(dtype):
        raise Malformed(f"{name} is {array.dtype}, {dtype} is expected")
    # What is unpacked here at a time is bounded by the chunk: z is not read, and nothing else may be compressed.
    codecs = [type(c).__name__ for c in (*array.filters, *array.compressors)]
    if (array.chunks, array.shards, codecs) != (chunk, zarr_shard, PACKED if packed else RAW):
        how = "packed by zstd" if packed else "raw"
        raise Malformed(f"{name} is stored in other chunks than {chunk}, {how} with a checksum each")


def _are_steps(step: np.ndarray) -> bool:
    fraction, _ = np.frexp(step)
    return bool(((fraction == 0.5) & (step >= STEP) & (step <= WIDEST_STEP)).all())


def _is_cut(path: Path) -> bool:
    """Whether a zarr-shard is not as long as its chunks and their index; of a packed one, only they tell how long."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - INDEX_BYTES))
        places = file.read()[:-CRC_BYTES]
    if len(places) != INDEX_BYTES - CRC_BYTES:
        return True
    lengths = np.frombuffer(places, "<u8")[1::2]
    # Of a chunk that it could have and has not, the length is 2^64 - 1.
    return int(lengths[lengths != np.iinfo(np.uint64).max].sum()) != size - INDEX_BYTES


def _std_fault(std: np.ndarray, frames: int) -> str:
    if not (np.isfinite(std).all() and (std >= 0).all()):
        return "std_video is not a finite number of 0 or more everywhere"
    if frames < 2 and std.any():
        return f"std_video is not 0, with {frames} frames,"
    return ""


def _histogram_fault(counts: np.ndarray, frames: int) -> str:
    """STDs of 4 and more are not counted, so that there may be fewer than one for each window and latent."""
    windows = len(WindowRule("clip", HISTOGRAM_WINDOW).windows(frames))
    if (counts < 0).any():
        return "std_clip_histogram counts less than 0"
    if counts.max(initial=0) > windows * LATENTS or counts.sum() > windows * LATENTS:
        return f"std_clip_histogram counts more than the {windows} windows have latents"
    return ""
