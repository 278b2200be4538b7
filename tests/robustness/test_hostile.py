"""Caches from strangers: every reader ends with a line and an exit code, in bounded memory, and reads no other file."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.all_readers import VARIANTS, Answer, read_everything

VIDEO, CLIP = VARIANTS
FRAMES, SMALL, MOTION, LATENTS = "frames/00000.h5", "small/00000.h5", f"motion/{CLIP}/00000.h5", "latents.zarr/00000"
STORED = 40 + 21 + 33
"""Frames of the first shard."""

ROOM = 250 << 20
"""Bytes that a hostile cache may take beyond what the same readers take for one in order."""

SECRET = b"the secret of another file"


@pytest.fixture
def cache(cache_path: Path, tmp_path: Path) -> Path:
    """A copy of the session's cache, to be made hostile; beside it a file that is nobody's business."""
    (tmp_path / "secret").write_bytes(SECRET * 100_000)
    return Path(shutil.copytree(cache_path, tmp_path / "cache"))


@pytest.fixture(scope="module")
def usual(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of memory that all readers take for a cache in order, which they all read."""
    copy = shutil.copytree(cache_path, tmp_path_factory.mktemp("usual") / "cache")
    reading = read_everything(copy, tmp_path_factory.mktemp("out"))
    assert {name: a for name, a in reading.answers.items() if a.exit_code != 0} == {}
    return reading.peak


def replaced(name: str, **options: Any) -> Callable[[Path], None]:
    """A dataset of an HDF5 file made anew, as said."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_dataset(name, **options)

    return change


def external(path: Path) -> None:
    """The JPEGs are said to lie in another file."""
    with h5py.File(path, "r+") as file:
        length = len(file["jpeg"])
        del file["jpeg"]
        file.create_dataset("jpeg", (length,), np.uint8, external=[(secret_of(path), 0, length)])


def virtual(path: Path) -> None:
    """The small frames are said to lie in another HDF5 file."""
    other = secret_of(path).with_suffix(".h5")
    with h5py.File(other, "w") as file:
        file["small"] = np.zeros((STORED, 64, 64, 3), np.uint8)
    layout = h5py.VirtualLayout((STORED, 64, 64, 3), np.uint8)
    layout[:] = h5py.VirtualSource(other, "small", (STORED, 64, 64, 3))
    with h5py.File(path, "r+") as file:
        del file["small"]
        file.create_virtual_dataset("small", layout)


def linked(path: Path) -> None:
    """The small frames are a link into another HDF5 file."""
    virtual(path)
    with h5py.File(path, "r+") as file:
        del file["small"]
        file["small"] = h5py.ExternalLink(str(secret_of(path).with_suffix(".h5")), "small")


def secret_of(path: Path) -> Path:
    return next(p for p in path.parents if (p / "secret").exists()) / "secret"


def bomb(path: Path) -> None:
    """Corrections whose chunks are of the right size by their description, and unpack to a gigabyte each."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    with h5py.File(path, "r+") as file:
        correction = file["correction"]
        for first in range(0, len(correction), 8):
            correction.id.write_direct_chunk((first, 0, 0, 0), packed + bytes(4))


def huge_jpegs(path: Path) -> None:
    """Every JPEG's header claims 65,500 x 65,500 pixels, 13 GB."""
    with h5py.File(path, "r+") as file:
        content = bytearray(file["jpeg"][:].tobytes())
        for start in file["jpeg_offsets"][:-1].tolist():
            place = content.index(b"\xff\xc0", start) + 5
            content[place : place + 4] = b"\xff\xdc\xff\xdc"
        file["jpeg"][:] = np.frombuffer(bytes(content), np.uint8)


def jpeg_lengths_of_gigabytes(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["jpeg_offsets"][1:] = np.arange(1, len(file["jpeg_offsets"])) << 40


def windows_of_any_number(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["window_frames"][:] = np.arange(len(file["window_frames"])) << 50
        file["window_offsets"][1:] = 2**62


def group_of_kept(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["kept"]
        file.create_group("kept")


def zarr_edit(name: str, edit: Callable[[Any], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        metadata = path / name / "zarr.json"
        content = json.loads(metadata.read_text())
        edit(content)
        metadata.write_text(json.dumps(content))

    return change


def zarr_text(name: str, text: str) -> Callable[[Path], None]:
    return lambda path: (path / name / "zarr.json").write_text(text) and None


def set_codecs(content: Any, codecs: list[Any]) -> None:
    content["codecs"] = codecs


BYTES: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
LEGACY_PICKLE = [{"name": "numcodecs.pickle", "configuration": {"id": "pickle", "protocol": 5}}]
READERS = ["worker", "preview"]

# What is changed, how, and which readers cannot but refuse it.
ATTACKS: dict[str, tuple[str, Callable[[Path], None], list[str]]] = {
    "small, 2**60 rows": (
        SMALL,
        replaced("small", shape=(2**60, 64, 64, 3), dtype="u1", chunks=(16, 64, 64, 3)),
        READERS,
    ),
    "small, packed away": (
        SMALL,
        replaced("small", shape=(2**40, 64, 64, 3), dtype="u1", chunks=(2**18, 64, 64, 3), compression="gzip"),
        READERS,
    ),
    "small, virtual": (SMALL, virtual, READERS),
    "small, a link": (SMALL, linked, READERS),
    "jpeg, external": (FRAMES, external, ["export original", "pairs", "preview"]),
    "jpeg, huge pictures": (FRAMES, huge_jpegs, ["export original", "pairs", "preview"]),
    "jpeg, lengths of gigabytes": (FRAMES, jpeg_lengths_of_gigabytes, ["export original", "pairs", "preview"]),
    "jpeg_offsets, 2**50": (FRAMES, replaced("jpeg_offsets", shape=(2**50,), dtype="i8"), ["export original", "pairs"]),
    "jpeg_offsets, packed": (
        FRAMES,
        replaced("jpeg_offsets", shape=(2**33,), dtype="i8", chunks=(2**18,), compression="gzip"),
        ["export original", "pairs"],
    ),
    "video_offsets, of texts": (FRAMES, replaced("video_offsets", data=["a", "b", "c", "d", "e"]), ["verify"]),
    "scale, 2**40": (MOTION, replaced("scale", shape=(2**40,), dtype="f4"), [f"export {CLIP}", "pairs"]),
    "kept, a group": (MOTION, group_of_kept, ["info", "shares"]),
    "corrections, a chunk of 3 GB": (
        MOTION,
        replaced("correction", shape=(2**18, 64, 64, 3), dtype="i1", chunks=(2**18, 64, 64, 3), compression="gzip"),
        [f"export {CLIP}", "pairs"],
    ),
    "corrections, bombs": (MOTION, bomb, []),
    "windows of any number": (MOTION, windows_of_any_number, [f"export {CLIP}", "pairs"]),
    "z, 10**12 rows": (LATENTS, zarr_edit("z", lambda z: z.update(shape=[10**12, 12288])), []),
    "std_video, 10**12 rows": (
        LATENTS,
        zarr_edit("std_video", lambda z: z.update(shape=[10**12, 12288])),
        ["info", "worker"],
    ),
    "std_video, 10**6 rows in one chunk": (
        LATENTS,
        zarr_edit(
            "std_video",
            lambda z: (
                z.update(shape=[10**6, 12288]),
                z["chunk_grid"]["configuration"].update(chunk_shape=[10**6, 12288]),
            ),
        ),
        ["info", "worker"],
    ),
    "z, chunks of 10**9 rows": (
        LATENTS,
        zarr_edit("z", lambda z: z["chunk_grid"]["configuration"].update(chunk_shape=[10**9, 12288])),
        READERS,
    ),
    "std_video, gzipped": (
        LATENTS,
        zarr_edit("std_video", lambda z: set_codecs(z, [BYTES, {"name": "gzip", "configuration": {"level": 5}}])),
        ["info", "worker"],
    ),
    "std_video, pickled": (
        LATENTS,
        zarr_edit("std_video", lambda z: set_codecs(z, LEGACY_PICKLE)),
        ["info", "plan", "worker"],
    ),
    "z, of Python objects": (LATENTS, zarr_edit("z", lambda z: z.update(data_type="object")), READERS),
    "z, nested": (LATENTS, zarr_text("z", "[" * 100_000), READERS),
    "z, described in 2 MB": (LATENTS, zarr_text("z", json.dumps({"attributes": {"a": "x" * (2 << 20)}})), READERS),
}


def one_line(answer: Answer) -> bool:
    """A mistake told: a single line. `verify` may have several, one for each problem."""
    return answer.exit_code > 0 and answer.output.strip().count("\n") == 0


REPEATED = (
    "jpeg_offsets, 2**50", "jpeg_offsets, packed", "small, packed away", "small, virtual", "scale, 2**40",
    "std_video, 10**12 rows", "std_video, 10**6 rows in one chunk", "z, chunks of 10**9 rows", "std_video, gzipped",
    "z, of Python objects", "z, described in 2 MB", "jpeg, lengths of gigabytes", "corrections, a chunk of 3 GB",
    "z, 10**12 rows", "small, a link", "z, nested", "windows of any number",
)  # fmt: skip
"""These are of a kind with another attack."""


@pytest.mark.parametrize("attack", [pytest.param(a, marks=pytest.mark.slow) if a in REPEATED else a for a in ATTACKS])
def test_a_hostile_store_is_refused_in_a_line_and_in_bounded_memory(
    cache: Path, usual: int, tmp_path: Path, attack: str
) -> None:
    name, change, refused_by = ATTACKS[attack]
    change(cache / name)
    reading = read_everything(cache, tmp_path / "out")
    answers = reading.answers
    assert {n: a for n, a in answers.items() if a.exit_code == -1} == {}, "errors that are told as nobody's mistake"
    assert {n: a for n, a in answers.items() if a.exit_code and n != "verify" and not one_line(a)} == {}
    assert [n for n in refused_by if answers[n].exit_code == 0] == []
    assert not any(SECRET in f.read_bytes() for f in (tmp_path / "out").rglob("*") if f.is_file())
    assert reading.peak < usual + ROOM, f"{(reading.peak - usual) >> 20} MB more than for a cache in order"
    assert reading.seconds < 60
