"""Farneback's flow on shifts that are known, the moving share of a known square, and the command on real caches."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from s2vc.eval.analyses.moving_pixels import motion_examples, moving_share, moving_shares
from s2vc.eval.analyses.optical_flow import STILL_SPEED, optical_flow, speeds
from s2vc.eval.analyses.share_figure import EXAMPLE_QUANTILES, class_means
from s2vc.eval.defaults import MOVING_SPEED
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.frames import encode_jpegs
from s2vc.pipeline.reporting import no_progress
from s2vc.pipeline.storage.hdf5 import write_shard
from tests.eval.conftest import Evaluate


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise over the range of grey values: (height, width, 3) uint8."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 2)
    grey = np.clip(128 + 55 * noise / noise.std(), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (2, 4), (-1, 1)])
def test_flow_is_the_shift_of_an_image(right: int, down: int) -> None:
    large = textured(148, 191)
    before = large[10:138, 10:181]
    after = large[10 - down : 138 - down, 10 - right : 181 - right]
    flow = optical_flow(before, after)
    assert flow.shape == (128, 171, 2)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [right, down], atol=0.1)
    (speed,) = speeds(np.stack([before, after]))
    assert np.median(speed) == pytest.approx(np.hypot(right, down), abs=0.15)


def square_video(frames: int = 9, side: int = 48) -> np.ndarray:
    """A textured square that moves by two pixels a frame over a still background: (frames, 128, 171, 3) uint8."""
    video = np.repeat(textured(128, 171)[None], frames, axis=0)
    square = textured(side, side, seed=1)[..., ::-1].copy()
    for t in range(frames):
        left = 30 + 2 * (t % 40)
        video[t, 40 : 40 + side, left : left + side] = square
    return video


def stored(cache: Path, video: np.ndarray, tmp_path: Path) -> Cache:
    """A copy of a cache of frames of the video's size, whose first shard holds one video more: these frames."""
    shutil.copytree(cache, tmp_path / "cache")
    copy = Cache(tmp_path / "cache")
    jpegs = encode_jpegs(video, 95)
    with write_shard(copy.layout.frames(0)) as file:
        file.growing("jpeg", (), np.uint8, 1 << 16).append(np.frombuffer(b"".join(jpegs), np.uint8))
        file.put("jpeg_offsets", np.cumsum([0, *map(len, jpegs)]))
    copy.index.loc[0, ["first_frame", "frames"]] = (0, len(video))
    return copy


def test_the_moving_share_of_a_square_that_moves(labelled_cache: Path, tmp_path: Path) -> None:
    cache = stored(labelled_cache, square_video(), tmp_path)
    # It covers 48 x 50 pixels in a pair; flow is a mean over 15 x 15 and reaches up to 7 pixels further.
    least, most = 48 * 46 / (128 * 171), (48 + 14) * (50 + 14) / (128 * 171)
    assert least < moving_share(cache, 0, 0.5) < most
    assert moving_share(cache, 0, 3.5) < 0.02


def test_pairs_are_taken_one_of_so_many_and_pieces_make_no_difference(labelled_cache: Path, tmp_path: Path) -> None:
    video = square_video(70)  # more than a piece
    cache = stored(labelled_cache, video, tmp_path)
    shares = np.array([(s > 0.5).mean() for s in speeds(cache.frames("00.mp4"))])
    assert len(shares) == 69
    assert moving_share(cache, 0, 0.5) == pytest.approx(shares.mean())
    assert moving_share(cache, 0, 0.5, every=5) == pytest.approx(shares[::5].mean())
    assert moving_share(cache, 0, 0.5, every=100) == pytest.approx(shares[0])


def test_between_a_frame_and_itself_there_is_no_motion() -> None:
    for frame in (textured(128, 171), np.random.default_rng(0).integers(0, 256, (128, 171, 3)).astype(np.uint8)):
        (speed,) = speeds(np.stack([frame, frame]))
        assert speed.max() < STILL_SPEED < MOVING_SPEED


def test_threads_make_no_difference(labelled_cache: Path) -> None:
    cache, before = Cache(labelled_cache), cv2.getNumThreads()
    rows = np.array([1, 4, 7])
    with no_progress(3) as advance:
        one, three = (moving_shares(cache, rows, 0.5, 4, workers, advance) for workers in (1, 3))
    assert one.tolist() == three.tolist() == [moving_share(cache, row, 0.5, 4) for row in rows]
    assert cv2.getNumThreads() == before


def test_examples_are_from_the_stillest_to_the_liveliest(labelled_cache: Path) -> None:
    cache, rows = Cache(labelled_cache), np.arange(10)
    found = motion_examples(cache, rows, np.linspace(1, 0, 10), 0.5)
    assert [e.share for e in found] == sorted(e.share for e in found) and len(found) == len(EXAMPLE_QUANTILES)
    np.testing.assert_array_equal(found[0].frame, cache.frames(found[0].video_id)[9])  # of 20
    assert len(motion_examples(cache, rows[:1], np.zeros(1), 0.5)) == 1


def test_means_are_per_class() -> None:
    shares = np.array([0.1, 0.3, 0.5, 0.9])
    assert class_means(shares, ["b", "a", "b", ""]) == pytest.approx({"a": 0.3, "b": 0.3})


def test_the_command_writes_numbers_and_a_figure(evaluate: Evaluate, cache_path: Path, tmp_path: Path) -> None:
    result = evaluate("motion", cache_path, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    path = next(tmp_path.glob("motion-*.json"))
    numbers = json.loads(path.read_text())
    assert (
        numbers["videos"] == len(numbers["per_video"]) == 4 and "left out: 1 video of a single frame" in result.output
    )
    assert "about 30% of three public datasets" in result.output
    assert numbers["moving"] == pytest.approx(np.mean(list(numbers["per_video"].values())))
    assert 0.02 < numbers["moving"] < 0.4  # a square of 4 % of the frame, two places of it in a pair
    assert set(numbers["per_class"]) == {"slide", "orbit"}
    assert Image.open(path.with_suffix(".png")).size[0] > 400


def test_without_labels_there_are_no_classes(evaluate: Evaluate, cache_path: Path, tmp_path: Path) -> None:
    shutil.copytree(cache_path, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",1,slide,", ",,,").replace(",0,orbit,", ",,,"))
    result = evaluate("motion", tmp_path / "cache", "--every", 10, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert json.loads(next((tmp_path / "out").glob("*.json")).read_text())["per_class"] == {}


def test_mistakes_are_reported_in_one_line(evaluate: Evaluate, cache_path: Path, tmp_path: Path) -> None:
    def error_line(cache: Path) -> str:
        result = evaluate("motion", cache, "--out", tmp_path / "out")
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.output.splitlines() if line.startswith("s2vc-eval: ")]
        return line

    assert "nothing" in error_line(tmp_path / "nothing")
    shutil.copytree(cache_path, tmp_path / "cache")
    for path in (tmp_path / "cache" / "frames").iterdir():
        path.unlink()
    assert "s2vc-prep verify" in error_line(tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    for frames in (40, 21, 33, 9):
        index.write_text(index.read_text().replace(f",{frames},ok,", ",1,ok,"))
    assert "2 frames or more; the longest has 1" in error_line(tmp_path / "cache")
