"""The latents of a shard are the Zarr v3 group `latents.zarr/NNNNN` with z, std_video and std_clip_histogram.

z is stored in one of three kinds, of which only q8 is compressed. Any reader of Zarr v3 that knows zstd restores z by

    group = zarr.open_group("CACHE/latents.zarr/00000", mode="r")
    z = group["z"][:]                                                          # float16, float32: as it is
    z = group["z"][:].astype("float32") * group["z_step"][:][:, None]          # q8
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec
from zarr.storage import FsspecStore, LocalStore

from s2vc.pipeline.cache.plain_arrays import Form, form_of, read_chunk, sharded_array, whole_array
from s2vc.pipeline.cache.quantise import FLOAT16, FLOAT32, Q8, dequantise, quantise
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.storage.files import Malformed, attempt
from s2vc.pipeline.storage.object_store import RemoteGroup, StoreError

STORED_AS = {FLOAT32: "float32", FLOAT16: "float16", Q8: "int8"}

ZSTD_LEVEL = 6
"""This level gives files a twentieth smaller than level 3, at half its speed, which takes a hundredth of the flow's
time on a CPU; higher levels hardly pay."""

Group = Path | RemoteGroup
"""The latents of a shard are read from here: from a folder on this machine, or from an object store."""

READ_FRAMES = 16
"""A chunk has this many frames. It is the least that is read, and one checksum covers it."""

WRITE_FRAMES = 512
"""A zarr-shard, which is one file, has this many frames. It is the unit of writing (12.6 MB in float16)."""

HISTOGRAM_BINS = 512
HISTOGRAM_RANGE = (0.0, 4.0)

MAX_METADATA = 1 << 20
"""The description of an array has at most this many bytes."""

WHOLE = {
    "z_step": ("float32", ()),
    "std_video": ("float32", (LATENTS,)),
    "std_clip_histogram": ("int64", (HISTOGRAM_BINS,)),
}
"""These arrays are one chunk each and are read at once; their type and columns are given here."""


class LatentWriter:
    """This appends the frames of a shard in order. A zarr-shard is always written at once, never in parts."""

    def __init__(self, path: Path, frames: int, videos: int, kind: str):
        group = zarr.create_group(LocalStore(path))
        z_chunks, z_shards = (READ_FRAMES, LATENTS), (WRITE_FRAMES, LATENTS)
        dtype = STORED_AS[kind]
        self._z = _create(group, "z", (frames, LATENTS), dtype, z_chunks, z_shards, packed=kind == Q8)
        self._z_step = _create(group, "z_step", (frames,), "float32", (max(frames, 1),)) if kind == Q8 else None
        self._std = _create(group, "std_video", (videos, LATENTS), "float32", (videos, LATENTS))
        bins = (videos, HISTOGRAM_BINS)
        self._histogram = _create(group, "std_clip_histogram", bins, "int64", bins)
        self._frames = frames
        self._written = 0
        self._buffer = np.empty((min(WRITE_FRAMES, frames), LATENTS), dtype)
        self._buffered = 0
        self._steps: list[np.ndarray] = []

    def append(self, z: np.ndarray) -> None:
        """Append the next frames' latents, (n, 12288) float32 (or float16), which are rounded here.

        Raises ValueError if they are not numbers and the kind is q8.
        """
        if self._z_step is not None:
            z, step = quantise(z)
            self._steps.append(step)
        while len(z):
            taken = min(len(z), WRITE_FRAMES - self._buffered)
            # What float16 cannot hold becomes infinite.
            with np.errstate(over="ignore"):
                self._buffer[self._buffered : self._buffered + taken] = z[:taken]
            self._buffered += taken
            z = z[taken:]
            if self._buffered == WRITE_FRAMES:
                self._flush()

    def finish(self, std_video: np.ndarray, std_clip_histogram: np.ndarray) -> None:
        """Write what is left, and the per-video arrays (V, 12288) float32 and (V, 512) int64.

        Raises ValueError if the number of frames is not the one that was announced.
        """
        self._flush()
        if self._written != self._frames:
            raise ValueError(f"{self._written} frames were written, {self._frames} were announced")
        if self._z_step is not None and self._steps:
            self._z_step[:] = np.concatenate(self._steps)
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
    shape: tuple[int, ...],
    dtype: str,
    chunks: tuple[int, ...],
    shards: tuple[int, int] | None = None,
    packed: bool = False,
) -> zarr.Array:
    """Create an array whose chunks carry a checksum each.

    It is compressed only if `packed`, since otherwise that hardly pays. A packed array is compressed latent by latent:
    a latent's steps, which hardly change from frame to frame, then lie next to each other.
    """
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        filters=[TransposeCodec(order=(1, 0))] if packed else None,
        serializer=BytesCodec(),
        compressors=[*([ZstdCodec(level=ZSTD_LEVEL)] if packed else []), Crc32cCodec()],
        # If empty chunks were left out, an all-zero chunk would look like one that was lost.
        config={"write_empty_chunks": True},
    )


@contextmanager
def write_latents(path: Path, frames: int, videos: int, kind: str = FLOAT16) -> Iterator[LatentWriter]:
    """Write a new group for that many frames and videos; it is at `path` if the block ends without an error.

    kind: one of s2vc.pipeline.cache.quantise.KINDS.
    """
    with attempt(path) as aside:
        yield LatentWriter(aside, frames, videos, kind)


def create_root(path: Path) -> None:
    """Create the empty group that holds the shards' groups; its metadata is never consolidated."""
    with attempt(path) as aside:
        zarr.create_group(LocalStore(aside), zarr_format=3)


def read_latents(path: Group, start: int, stop: int) -> np.ndarray:
    """Return z of the shard's frames start to stop: (n, 12288) float16, or float32 where that is stored.

    Raises FileNotFoundError if a chunk file is lost.
    """
    z = open_array(path, "z")
    # A missing zarr-shard would be read as zeros without an error.
    for k in range(start // WRITE_FRAMES, -(-stop // WRITE_FRAMES)):
        _require(path / "z" / "c" / str(k) / "0")
    stored = np.asarray(z[start:stop])
    return dequantise(stored, read_steps(path)[start:stop]) if stored.dtype == np.int8 else stored


def read_steps(path: Group) -> np.ndarray:
    """Return the step of each frame of a shard whose latents are q8: (F,) float32."""
    return _whole(path, "z_step")


def read_std_video(path: Group) -> np.ndarray:
    """Return the STD over each complete video: (V, 12288) float32."""
    return _whole(path, "std_video")


def read_std_clip_histogram(path: Group) -> np.ndarray:
    """Return the STDs of windows of 16 frames, counted per video in 512 bins over [0, 4): (V, 512) int64."""
    return _whole(path, "std_clip_histogram")


def _whole(path: Group, name: str) -> np.ndarray:
    dtype, columns = WHOLE[name]
    chunk = path / "/".join([name, "c", *"0" * (1 + len(columns))])
    if (form := _plain_form(path, name)) and isinstance(chunk, Path):
        shape = (form.rows, *columns)
        return read_chunk(chunk, _size(chunk), dtype, shape) if form.rows else np.zeros(shape, dtype)
    array = open_array(path, name)
    # The array is not compressed, so its file must be as large: a description that claims more would fill the memory.
    if array.shape[0] and _size(chunk) < array.nbytes:
        raise Malformed(f"{chunk} holds less than {name} has")
    return np.asarray(array[:])


def array_form(path: Group, name: str) -> Form:
    """Return how many rows `z`, `z_step`, `std_video` or `std_clip_histogram` has, and of which type; none is read.

    Raises what `open_array` raises.
    """
    if (form := _plain_form(path, name)) is not None:
        return form
    array = open_array(path, name)
    return Form(array.shape[0], str(array.dtype))


def _plain_form(path: Group, name: str) -> Form | None:
    """Return the form of an array on this machine, if it is described as `LatentWriter` describes it, else None."""
    if isinstance(path, Path) and (path / name / "zarr.json").is_file():
        return form_of(path / name, partial(_description, name), MAX_METADATA)
    return None


def _description(name: str, form: Form) -> dict[str, Any]:
    """Return the zarr.json that `LatentWriter` gives an array of this form; that of its own type if it has one."""
    if name == "z":
        return sharded_array(form, (LATENTS,), READ_FRAMES, WRITE_FRAMES)
    dtype, columns = WHOLE[name]
    return whole_array(Form(form.rows, dtype), columns)


def open_array(path: Group, name: str) -> zarr.Array:
    """Open `z`, `z_step`, `std_video` or `std_clip_histogram`; none of it is read yet.

    Raises FileNotFoundError if it is missing, and Malformed if it is described as something else than `_create` makes.
    """
    metadata = path / name / "zarr.json"
    if _size(metadata) > MAX_METADATA:
        raise Malformed(f"{metadata} is larger than {MAX_METADATA} bytes")
    try:
        array = zarr.open_array(_store(path / name), mode="r", zarr_format=3)
        ours = _is_ours(array, name)
    except StoreError:
        raise
    # Every kind of error is caught, since a malicious description can make Zarr raise any.
    except Exception as error:
        raise Malformed(f"{metadata} describes no array ({type(error).__name__})") from None
    if not ours:
        raise Malformed(f"{metadata} describes another array than one of {name}")
    return array


def _is_ours(array: zarr.Array, name: str) -> bool:
    """Return whether type, columns, chunks and codecs are those that `LatentWriter` gives."""
    rows, dtype = array.shape[0], str(array.dtype)
    codecs = [type(c) for c in (*array.filters, *array.compressors)]
    if name == "z":
        packed = [TransposeCodec, ZstdCodec] if dtype == STORED_AS[Q8] else []
        shape, chunks, shards = (rows, LATENTS), (READ_FRAMES, LATENTS), (WRITE_FRAMES, LATENTS)
        fits = dtype in STORED_AS.values() and codecs == [*packed, Crc32cCodec]
        return fits and (array.shape, array.chunks, array.shards) == (shape, chunks, shards)
    stored_as, columns = WHOLE[name]
    places = (array.shape, array.chunks, array.shards)
    return (dtype, codecs) == (stored_as, [Crc32cCodec]) and places == (
        (rows, *columns),
        (max(rows, 1), *columns),
        None,
    )


def _store(group: Group) -> LocalStore | FsspecStore:
    if isinstance(group, Path):
        return LocalStore(group, read_only=True)
    return FsspecStore.from_url(group.url, read_only=True)


def _size(path: Group) -> int:
    """Return the bytes of a file or an object. Raises FileNotFoundError, and Malformed for a pipe or the like."""
    if isinstance(path, RemoteGroup):
        if (entry := path.store.entry(path.key)) is not None:
            return entry.size
    elif path.is_file():
        return path.stat().st_size
    _require(path)
    raise Malformed(f"{path} is no regular file")


def _require(path: Group) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `s2vc-prep verify`")
