"""Arrays read as plain files are those that Zarr reads, and whatever is not as we write it is left to Zarr."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from s2vc.pipeline.cache import latents
from s2vc.pipeline.cache.latents import array_form, read_std_clip_histogram, read_std_video, read_steps, write_latents
from s2vc.pipeline.cache.quantise import KINDS, Q8
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.storage.files import Malformed

FRAMES, VIDEOS = 20, 3
EDITS: dict[str, Callable[[Any], object]] = {
    "rows that are no whole number": lambda d: d["shape"].__setitem__(0, 3.0),
    "rows that are a truth": lambda d: d["shape"].__setitem__(0, True),
    "negative rows": lambda d: d["shape"].__setitem__(0, -3),
    "no shape": lambda d: d.pop("shape"),
    "another type": lambda d: d.update(data_type="float64"),
    "no checksum": lambda d: d["codecs"].pop(),
    "smaller chunks": lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[1, LATENTS]),
}


def write_group(path: Path, kind: str = "float16", frames: int = FRAMES) -> Path:
    rng = np.random.default_rng(0)
    with write_latents(path, frames, VIDEOS, kind) as writer:
        writer.append(rng.standard_normal((frames, LATENTS), np.float32))
        histogram = rng.integers(0, 99, (VIDEOS, latents.HISTOGRAM_BINS))
        writer.finish(rng.random((VIDEOS, LATENTS), np.float32), histogram)
    return path


@pytest.fixture
def no_zarr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every array that Zarr would open fail."""
    monkeypatch.delattr(latents.zarr, "open_array")


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_write_is_read_without_zarr(tmp_path: Path, kind: str, no_zarr: None) -> None:
    group = write_group(tmp_path / "0", kind)
    stored = zarr.open_group(group, mode="r")
    for name, array in stored.arrays():
        assert array_form(group, name) == (array.shape[0], str(array.dtype))
    np.testing.assert_array_equal(read_std_video(group), stored["std_video"][:])
    np.testing.assert_array_equal(read_std_clip_histogram(group), stored["std_clip_histogram"][:])
    if kind == Q8:
        np.testing.assert_array_equal(read_steps(group), stored["z_step"][:])


def test_of_no_frames_there_is_nothing_to_read(tmp_path: Path, no_zarr: None) -> None:
    group = write_group(tmp_path / "0", Q8, frames=0)
    assert read_steps(group).shape == (0,)
    assert array_form(group, "z").rows == 0


def test_what_was_read_may_be_written_into(tmp_path: Path) -> None:
    read_std_video(write_group(tmp_path / "0"))[0, 0] = 1


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_another_description_of_such_an_array_is_left_to_zarr(tmp_path: Path, byte_order: str) -> None:
    group = write_group(tmp_path / "0")
    description = group / "std_video" / "zarr.json"
    content = dict(reversed(json.loads(description.read_text()).items()))
    content["codecs"][0]["configuration"]["endian"] = byte_order
    description.write_text(json.dumps(content))
    np.testing.assert_array_equal(read_std_video(group), zarr.open_array(group / "std_video", mode="r")[:])
    assert array_form(group, "std_video") == (VIDEOS, "float32")


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_another_description_is_not_believed(tmp_path: Path, edit: Callable[[Any], object]) -> None:
    group = write_group(tmp_path / "0")
    description = group / "std_video" / "zarr.json"
    content = json.loads(description.read_text())
    edit(content)
    description.write_text(json.dumps(content))
    with pytest.raises(Malformed):
        read_std_video(group)
    with pytest.raises(Malformed):
        array_form(group, "std_video")


def test_more_rows_than_are_stored_are_not_believed(tmp_path: Path) -> None:
    group = write_group(tmp_path / "0")
    description = group / "std_video" / "zarr.json"
    description.write_text(description.read_text().replace(f"    {VIDEOS},", "    1000000000000,"))
    assert array_form(group, "std_video").rows == 10**12
    with pytest.raises(Malformed, match="expected"):
        read_std_video(group)


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"\0", lambda c: c[:9] + b"\xff" + c[10:], None])
def test_a_chunk_that_was_changed_is_noticed(tmp_path: Path, change: Callable[[bytes], bytes] | None) -> None:
    chunk = write_group(tmp_path / "0") / "std_video" / "c" / "0" / "0"
    content = chunk.read_bytes()
    chunk.unlink()
    if change is None:
        with pytest.raises(FileNotFoundError, match="verify"):
            read_std_video(tmp_path / "0")
    else:
        chunk.write_bytes(change(content))
        with pytest.raises(Malformed):
            read_std_video(tmp_path / "0")
