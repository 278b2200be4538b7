"""Latents in float32, float16 and q8: what is stored is what was given, within half a step, and damage is noticed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import Result
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.latents import HISTOGRAM_BINS, read_latents, write_latents
from s2vc.pipeline.cache.quantise import KINDS, dequantise, quantise
from s2vc.pipeline.cache.receipts import VideoRecord
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.verify.check_latents import check_latents, latent_files
from s2vc.pipeline.verify.problem import Malformed
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree

Prep = Callable[..., Result]
FRAMES = 530
"""More than a zarr-shard of 512, whose last chunk of 16 is not full."""

DTYPES = {"float32": np.float32, "float16": np.float16, "q8": np.float16}


@given(arrays(np.float32, (3, 5), elements=st.floats(width=32, allow_nan=False)))
@example(np.array([[15.93], [-15.9375], [15.94]], np.float32))  # the last that rounds to 127 steps, and the first not
def test_no_latent_is_off_by_more_than_half_a_step(z: np.ndarray) -> None:
    steps, step = quantise(z)
    assert (steps.dtype, step.dtype) == (np.int8, np.float32)
    # As far as float16 goes: beyond 127 steps of 512 latents are clipped, and none wraps to the other sign.
    near = np.clip(z.astype(np.float64), -65024, 65024)
    assert (np.abs(steps * step[:, None].astype(np.float64) - near) <= step[:, None] / 2).all()
    for frame, width in zip(near, step.astype(np.float64), strict=True):
        assert 1 / 8 <= width <= 512 and np.log2(width) % 1 == 0
        # No wider than it has to be: in half the step, the largest latent would have rounded to 128.
        assert width == 1 / 8 or np.abs(frame).max() / (width / 2) >= 127.5


@given(arrays(np.int8, (2, 40), elements=st.integers(-127, 127)), st.lists(st.integers(-3, 9), min_size=2, max_size=2))
def test_float16_holds_every_number_of_steps_exactly(steps: np.ndarray, exponents: list[int]) -> None:
    step = np.exp2(exponents).astype(np.float32)
    z = dequantise(steps, step)
    assert z.dtype == np.float16
    np.testing.assert_array_equal(z.astype(np.float64), steps * step.astype(np.float64)[:, None])


def test_a_frame_with_an_outlier_has_wider_steps_and_its_neighbours_have_not() -> None:
    z = np.zeros((3, 2), np.float32)
    z[1] = 1818.8, -0.3  # what stripes of red and blue give
    steps, step = quantise(z)
    assert step.tolist() == [0.125, 16.0, 0.125]
    assert dequantise(steps, step)[1].tolist() == [1824.0, 0.0]


def test_what_is_not_a_number_is_not_rounded_to_one(tmp_path: Path) -> None:
    z = np.zeros((1, LATENTS), np.float32)
    z[0, 7] = np.nan
    with pytest.raises(ValueError, match="not numbers"), write_latents(tmp_path / "0", 1, 1, "q8") as writer:
        writer.append(z)
    assert list(tmp_path.iterdir()) == []


def drawn(frames: int = FRAMES) -> np.ndarray:
    """Latents that hardly change, with a test pattern among them: (frames, 12288) float32."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1, LATENTS), np.float32) + rng.standard_normal((frames, LATENTS), np.float32) / 8
    z[min(frames - 1, 20)] *= 300
    return z


def write(path: Path, z: np.ndarray, kind: str, pieces: int = 64) -> None:
    with write_latents(path, len(z), 1, kind) as writer:
        for start in range(0, len(z), pieces):
            writer.append(z[start : start + pieces])
        writer.finish(np.ones((1, LATENTS), np.float32), np.zeros((1, HISTOGRAM_BINS), np.int64))


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the drawn latents in each kind. Not to be written into."""
    folder = tmp_path_factory.mktemp("groups")
    for kind in KINDS:
        write(folder / kind, drawn(), kind)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_any_slice_comes_back_as_it_was_rounded(groups: Path, kind: str) -> None:
    z, whole = drawn(), read_latents(groups / kind, 0, FRAMES)
    assert whole.dtype == DTYPES[kind]
    half = quantise(z)[1][:, None] / 2 if kind == "q8" else 0
    expected = z.astype(np.float64) if kind == "q8" else z.astype(DTYPES[kind])
    assert (np.abs(whole - expected) <= half).all()
    for start, stop in ((0, 1), (15, 17), (500, 525), (512, 512), (529, 530)):
        np.testing.assert_array_equal(read_latents(groups / kind, start, stop), whole[start:stop])


def test_a_plain_zarr_reader_reads_q8(groups: Path) -> None:
    """As the docstring of s2vc.pipeline.cache.latents says, with codecs of Zarr itself and no code of ours."""
    group = zarr.open_group(str(groups / "q8"), mode="r")
    z = group["z"][:].astype("float32") * group["z_step"][:][:, None]
    np.testing.assert_array_equal(z, read_latents(groups / "q8", 0, FRAMES))
    described = json.loads((groups / "q8" / "z" / "zarr.json").read_text())
    names = {c["name"] for c in described["codecs"][0]["configuration"]["codecs"]}
    assert names == {"transpose", "bytes", "zstd", "crc32c"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_latents_give_the_same_bytes_in_whatever_pieces(groups: Path, kind: str, tmp_path: Path) -> None:
    write(tmp_path / "again", drawn(), kind, pieces=37)
    assert tree(tmp_path / "again") == tree(groups / kind)


@pytest.mark.parametrize("lost", ["z/c/1/0", "z_step/c/0", "z/zarr.json", "z_step/zarr.json"])
def test_a_lost_file_is_an_error_and_not_zeros(groups: Path, lost: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(groups / "q8", tmp_path / "copy"))
    (copy / lost).unlink()
    with pytest.raises(FileNotFoundError, match="verify"):
        read_latents(copy, 520, 530)


@pytest.mark.parametrize("name", ["z/c/0/0", "z_step/c/0"])
def test_no_flipped_byte_is_read(groups: Path, name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(groups / "q8", tmp_path / "copy"))
    content = (copy / name).read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(content), 30):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        (copy / name).write_bytes(flipped)
        with pytest.raises(ValueError, match="checksum"):
            read_latents(copy, 0, 512)


def problems(path: Path, kind: str = "q8") -> list[str]:
    return [str(p) for p in check_latents(path, "00000", [VideoRecord("a", "ok", frames=FRAMES)], kind)]


def test_verify_reads_what_belongs_to_q8(groups: Path, tmp_path: Path) -> None:
    assert {p.relative_to(groups / "q8").as_posix() for p in (groups / "q8").rglob("*") if p.is_file()} == set(
        latent_files(FRAMES, 1, "q8")
    )
    assert problems(groups / "q8") == []
    for have, wanted in (("float16", "q8"), ("q8", "float16"), ("float32", "float16")):
        with pytest.raises(Malformed, match="is expected"):
            problems(groups / have, wanted)
    copy = Path(shutil.copytree(groups / "q8", tmp_path / "copy"))
    zarr.open_array(str(copy / "z_step"), mode="r+")[3] = 0.3
    assert problems(copy) == ["00000: z_step is not a power of two from 0.125 to 512 everywhere"]


@pytest.mark.parametrize("left", [0, 200, -1])
def test_verify_sees_that_a_packed_file_was_cut(groups: Path, left: int, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(groups / "q8", tmp_path / "copy"))
    file = copy / "z" / "c" / "1" / "0"
    file.write_bytes(file.read_bytes()[:left])
    assert problems(copy) == ["00000/z/c/1/0: is not as long as its index says"]


@pytest.fixture(scope="module")
def caches(cli: Prep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache of the same videos in each kind, rendered in both scopes. Not to be written into."""
    folder = tmp_path_factory.mktemp("kinds")
    clips = [p for p in real_clips() if p.exists()]
    for number, frames in enumerate((40, 9, 1)):
        write_clip(folder / "videos" / f"{number}.mp4", moving_square(frames, seed=number))
    for clip in clips:
        shutil.copy(clip, folder / "videos")
    names = sorted(p.name for p in (folder / "videos").iterdir())
    (folder / "m.csv").write_text("\n".join(["video_id", *names]) + "\n")
    for kind in KINDS:
        encoded = encode(cli, folder, folder / kind, "--latents", kind)
        assert encoded.exit_code == 0, encoded.output
        for scope in ("video", "clip"):
            assert cli("render", folder / kind, "--alpha", "0.5", "--scope", scope).exit_code == 0
    return folder


def real_clips() -> list[Path]:
    data = Path(__file__).parents[4] / "shared" / "data"
    return [data / "interaction" / "1_hug" / "set1_seq01_2_1.avi", data / "street" / "fight" / "fi034.mp4"]


def encode(cli: Prep, folder: Path, out: Path, *more: object) -> Result:
    return cli("encode", folder / "m.csv", "--root", folder / "videos", "--out", out, "--size", "64x86", *more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_gives_its_latents(caches: Path, kind: str) -> None:
    cache, exact = Cache(caches / kind), Cache(caches / "float32")
    assert cache.settings.latents == kind
    for video_id in cache.index["video_id"]:
        z = cache.latents(video_id)
        assert z.dtype == DTYPES[kind]
        limit = {"float32": 0.0, "float16": 0.004, "q8": 1 / 16}[kind]  # a float16 of 8 is off by 0.004 at most
        assert np.abs(z.astype(np.float32) - exact.latents(video_id)).max() <= limit
        # STDs come from before rounding, whatever the kind.
        np.testing.assert_array_equal(cache.std(video_id), exact.std(video_id))
        np.testing.assert_array_equal(cache.std_clip_histogram(video_id), exact.std_clip_histogram(video_id))


def test_cache_json_says_version_1_with_float16_alone(caches: Path) -> None:
    written = {kind: json.loads((caches / kind / "cache.json").read_text()) for kind in KINDS}
    assert {kind: (w["format_version"], w.get("latents")) for kind, w in written.items()} == {
        "float32": (2, "float32"),
        "float16": (1, None),
        "q8": (2, "q8"),
    }


@pytest.mark.parametrize("variant", ["alpha0.5-zero-video", "alpha0.5-zero-clip16"])
def test_q8_moves_pixels_of_real_clips_by_less_than_a_grey_level(caches: Path, variant: str) -> None:
    if not all(p.exists() for p in real_clips()):
        pytest.skip("needs ../shared, with real videos, which is not there")
    exact, q8 = Cache(caches / "float32"), Cache(caches / "q8")
    for clip in real_clips():
        windows = range(len(exact.windows(clip.name, variant)))
        v_p = [[c.motion_preserved(clip.name, variant, w).astype(int) for w in windows] for c in (exact, q8)]
        assert 0 < np.abs(np.concatenate(v_p[0]) - np.concatenate(v_p[1])).mean() < 1
        kept = np.abs(exact.kept(clip.name, variant) - q8.kept(clip.name, variant))
        # The mask of a whole video comes from STDs before rounding: there, nothing flips.
        assert kept.max() < (0.005 if "clip" in variant else 1e-9)


def test_q8_takes_a_third_of_float16_or_less(caches: Path) -> None:
    taken = {k: sum(p.stat().st_size for p in (caches / k).glob("latents.zarr/*/z/c/*/*")) for k in KINDS}
    assert taken["q8"] < taken["float16"] / 3 and taken["float16"] < taken["float32"] * 0.51


@pytest.mark.parametrize(("have", "wanted"), [("q8", "float16"), ("float16", "q8"), ("float32", "q8")])
def test_another_kind_is_refused(caches: Path, cli: Prep, have: str, wanted: str) -> None:
    before = tree(caches / have)
    refused = encode(cli, caches, caches / have, "--latents", wanted)
    assert refused.exit_code == 2 and f"--latents is {have} there, {wanted} here" in refused.output
    assert tree(caches / have) == before


def test_q8_grows_verifies_and_is_repaired_to_the_same_bytes(caches: Path, cli: Prep, tmp_path: Path) -> None:
    for kind in ("float32", "q8"):
        copy = Path(shutil.copytree(caches / kind, tmp_path / kind))
        again = encode(cli, caches, copy)
        assert again.exit_code == 0 and " 0 videos to do" in f" {again.output}"
        assert "All is well" in cli("verify", copy).output
        assert f"latents as {kind}" in cli("info", copy).output
        name = "z/c/0/0"
        file = copy / "latents.zarr" / "00000" / name
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 1
        file.write_bytes(content)
        assert f"latents.zarr/00000/{name}: is not as it was written" in cli("verify", copy).output
        assert "All is well" in cli("verify", copy, "--repair").output
        assert tree(copy) == tree(caches / kind)


def test_a_cut_file_is_found_by_a_quick_look(caches: Path, cli: Prep, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(caches / "q8", tmp_path / "copy"))
    file = copy / "latents.zarr" / "00000" / "z" / "c" / "0" / "0"
    file.write_bytes(file.read_bytes()[:-100])
    found = cli("verify", copy, "--quick")
    assert found.exit_code == 1 and "latents.zarr/00000/z/c/0/0: is not as long as its index says" in found.output
