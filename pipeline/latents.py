"""The latents of a shard: the Zarr v3 group `latents.zarr/NNNNN` with z, std_video and std_clip_histogram."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.storage import FsspecStore, LocalStore

from pipeline.cache.store import RemoteGroup
from pipeline.files import attempt
from pipeline.flow.model import LATENTS

Group = Path | RemoteGroup
"""Where the latents of a shard are read: on this machine, or in an object store."""

READ_FRAMES = 16
"""Frames of a chunk: the least that is read, and what one checksum covers."""

WRITE_FRAMES = 512
"""Frames of a zarr-shard, one file: the unit of writing (12.6 MB)."""

HISTOGRAM_BINS = 512
HISTOGRAM_RANGE = (0.0, 4.0)


class LatentWriter:
    """Appends the frames of a shard, in order; whole zarr-shards are written, never a part of one."""

    def __init__(self, path: Path, frames: int, videos: int):
        group = zarr.create_group(LocalStore(path))
        z_chunks, z_shards = (READ_FRAMES, LATENTS), (WRITE_FRAMES, LATENTS)
        self._z = _create(group, "z", (frames, LATENTS), "float16", z_chunks, z_shards)
        self._std = _create(group, "std_video", (videos, LATENTS), "float32", (videos, LATENTS))
        bins = (videos, HISTOGRAM_BINS)
        self._histogram = _create(group, "std_clip_histogram", bins, "int64", bins)
        self._frames = frames
        self._written = 0
        self._buffer = np.empty((min(WRITE_FRAMES, frames), LATENTS), np.float16)
        self._buffered = 0

    def append(self, z: np.ndarray) -> None:
        """The next frames' latents, (n, 12288) float16."""
        while len(z):
            taken = min(len(z), WRITE_FRAMES - self._buffered)
            self._buffer[self._buffered : self._buffered + taken] = z[:taken]
            self._buffered += taken
            z = z[taken:]
            if self._buffered == WRITE_FRAMES:
                self._flush()

    def finish(self, std_video: np.ndarray, std_clip_histogram: np.ndarray) -> None:
        """Write what is left, and the per-video arrays (V, 12288) float32 and (V, 512) int64."""
        self._flush()
        if self._written != self._frames:
            raise ValueError(f"{self._written} frames were written, {self._frames} were announced")
        self._std[:] = std_video
        self._histogram[:] = std_clip_histogram

    def _flush(self) -> None:
        if self._buffered:
            self._z[self._written : self._written + self._buffered] = self._buffer[: self._buffered]
            self._written += self._buffered
            self._buffered = 0


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, int],
    dtype: str,
    chunks: tuple[int, int],
    shards: tuple[int, int] | None = None,
) -> zarr.Array:
    """An array whose chunks are not compressed, which hardly pays, but carry a checksum each."""
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        serializer=BytesCodec(),
        compressors=[Crc32cCodec()],
        # With empty chunks left out, an all-zero chunk could not be told from one that was lost.
        config={"write_empty_chunks": True},
    )


@contextmanager
def write_latents(path: Path, frames: int, videos: int) -> Iterator[LatentWriter]:
    """A new group at `path` for that many frames and videos, there when the block ends without an error."""
    with attempt(path) as aside:
        yield LatentWriter(aside, frames, videos)


def create_root(path: Path) -> None:
    """The group that holds the shards' groups; its metadata is never consolidated."""
    zarr.open_group(LocalStore(path), mode="a", zarr_format=3)


def read_latents(path: Group, start: int, stop: int) -> np.ndarray:
    """z of the shard's frames start to stop: (n, 12288) float16. Raises FileNotFoundError for a lost chunk file."""
    z = open_array(path, "z")
    # A zarr-shard that is not there would read as zeros without a word.
    for k in range(start // WRITE_FRAMES, -(-stop // WRITE_FRAMES)):
        _require(path / "z" / "c" / str(k) / "0")
    return np.asarray(z[start:stop])


def read_std_video(path: Group) -> np.ndarray:
    """STD over each whole video: (V, 12288) float32."""
    return _whole(path, "std_video")


def read_std_clip_histogram(path: Group) -> np.ndarray:
    """STDs of windows of 16 frames, counted per video in 512 bins over [0, 4): (V, 512) int64."""
    return _whole(path, "std_clip_histogram")


def _whole(path: Group, name: str) -> np.ndarray:
    array = open_array(path, name)
    if array.shape[0]:
        _require(path / name / "c" / "0" / "0")
    return np.asarray(array[:])


def open_array(path: Group, name: str) -> zarr.Array:
    """`z`, `std_video` or `std_clip_histogram` of a shard, nothing of it read yet. Raises FileNotFoundError."""
    _require(path / name / "zarr.json")
    return zarr.open_array(_store(path / name), mode="r", zarr_format=3)


def _store(group: Group) -> LocalStore | FsspecStore:
    if isinstance(group, Path):
        return LocalStore(group, read_only=True)
    return FsspecStore.from_url(group.url, read_only=True)


def _require(path: Group) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `s2vc-prep verify`")
