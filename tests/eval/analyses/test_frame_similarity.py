"""Cosines against scipy's, which frames are paired, what the control zeroes, and the command on real caches."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import distance

from s2vc.eval.analyses.frame_similarity import (
    ALL_VIDEOS,
    COMPARISONS,
    FrameVectors,
    Pair,
    VideoGroups,
    choose_groups,
    cosines,
    draw_pairs,
    group_means,
    mean_over_groups,
    pair_cosines,
    undefined_comparisons,
)
from s2vc.eval.videos import encoded_rows
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.latents import HISTOGRAM_BINS, write_latents
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.reporting import no_progress
from tests.eval.conftest import Evaluate

GROUPS = VideoGroups(
    {"a": np.array([0, 2, 5]), "b": np.array([1, 4]), "c": np.array([3])}, np.array([9, 1, 4, 7, 2, 30])
)


def test_cosines_are_those_of_scipy() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 50, 12288)).astype(np.float32)
    expected = [1 - distance.cosine(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cosines(a, b), expected, atol=1e-12)


def test_vectors_of_zeros_have_no_cosine() -> None:
    found = cosines(np.array([[0.0, 0], [3, 4]]), np.array([[1.0, 0], [4, 3]]))
    assert np.isnan(found[0]) and found[1] == pytest.approx(24 / 25)


def test_pairs_are_of_the_videos_that_a_comparison_means() -> None:
    of = {row: group for group, rows in GROUPS.rows.items() for row in rows.tolist()}
    for comparison in COMPARISONS:
        pairs = draw_pairs(GROUPS, comparison, 200, seed=1)
        assert pairs == draw_pairs(GROUPS, comparison, 200, seed=1) != draw_pairs(GROUPS, comparison, 200, seed=2)
        for pair in pairs:
            (row, frame), (other, beside) = pair.a, pair.b
            assert of[row] == pair.group and frame < GROUPS.frames[row] and beside < GROUPS.frames[other]
            if comparison == "intra-class":
                assert row != other and of[other] == pair.group
            elif comparison == "inter-class":
                assert of[other] != pair.group
            else:
                assert row == other and beside == frame + 1
    counted = {c: {p.group for p in draw_pairs(GROUPS, c, 5, 0)} for c in COMPARISONS}
    assert counted == {"intra-class": {"a", "b"}, "intra-video": {"a", "b", "c"}, "inter-class": {"a", "b", "c"}}


def test_what_cannot_be_compared_is_named() -> None:
    assert undefined_comparisons(GROUPS) == {}
    assert set(undefined_comparisons(VideoGroups({"a": np.array([0, 1])}, GROUPS.frames))) == {"inter-class"}
    assert set(undefined_comparisons(VideoGroups({"a": np.array([0])}, GROUPS.frames))) == {
        "inter-class",
        "intra-class",
    }
    assert set(undefined_comparisons(VideoGroups({ALL_VIDEOS: np.array([0, 1])}, GROUPS.frames))) == {
        "inter-class",
        "intra-class",
    }


def test_static_latents_are_zeroed_and_as_many_at_random(labelled_cache: Path) -> None:
    cache = Cache(labelled_cache)
    video = cache.index["video_id"].iloc[3]
    alpha = float(np.median(cache.std(video)))
    vectors = FrameVectors(cache, alpha, seed=0)
    z, z_p, control = vectors.of_frame((3, 7))
    np.testing.assert_array_equal(z, cache.latents(video)[7].astype(np.float32))
    static = cache.std(video) < np.float32(alpha)
    np.testing.assert_array_equal(z_p, np.where(static, 0, z))
    kept, drawn = vectors.masks(3)
    assert kept.sum() == drawn.sum() == (~static).sum()
    assert not np.array_equal(kept, drawn) and not np.array_equal(drawn, FrameVectors(cache, alpha, 1).masks(3)[1])
    np.testing.assert_array_equal(control, np.where(drawn, z, 0))
    assert vectors.mean_kept([Pair("intra-video", "c0", (3, 0), (3, 1))]) == pytest.approx((~static).mean())


def test_similarity_of_latents_that_are_known(labelled_cache: Path, tmp_path: Path) -> None:
    # Two latents of a scene that both videos share, and of each video one that moves.
    shutil.copytree(labelled_cache, tmp_path / "cache")
    cache = Cache(tmp_path / "cache")
    z, std = np.zeros((200, LATENTS), np.float16), np.zeros((10, LATENTS), np.float32)
    z[:, :2], std[:, 2:4] = (3, 1), 1
    z[:20, 2], z[20:40, 3] = 1, 1
    with write_latents(cache.layout.latents(0), 200, 10) as writer:
        writer.append(z)
        writer.finish(std, np.zeros((10, HISTOGRAM_BINS), np.int64))
    pairs = [Pair("intra-class", "c0", (0, 4), (1, 9)), Pair("intra-video", "c0", (0, 4), (0, 5))]
    with no_progress(1) as advance:
        found = pair_cosines(FrameVectors(cache, 0.5, 0), pairs, advance)
        nothing = pair_cosines(FrameVectors(cache, 5.0, 0), pairs, advance)
    # The control keeps 2 of 12288 latents: all four that are not zero are gone, so that nothing can be said.
    assert np.isnan(found).all()
    std[:, 4:] = 1  # now 2 of 12288 are static, and the control hardly touches anything
    std[:, :2] = 0.1
    with write_latents(cache.layout.latents(0), 200, 10) as writer:
        writer.append(z)
        writer.finish(std, np.zeros((10, HISTOGRAM_BINS), np.int64))
    with no_progress(1) as advance:
        found = pair_cosines(FrameVectors(cache, 0.5, 0), pairs, advance)
    np.testing.assert_allclose(found, [[10 / 11, 0, 10 / 11], [1, 1, 1]], atol=1e-12)
    assert np.isnan(nothing).all() and group_means(pairs, nothing) == {}
    means = group_means(pairs * 2, np.concatenate([found, nothing]))
    assert means["intra-class"]["c0"] == pytest.approx([10 / 11, 0, 10 / 11])
    assert mean_over_groups(means)["intra_class_z"] == pytest.approx(10 / 11)


def test_classes_are_drawn_by_seed(cache_path: Path) -> None:
    cache = Cache(cache_path)
    rows = encoded_rows(cache)
    drawn = {tuple(choose_groups(cache, rows, 1, seed).rows) for seed in range(20)}
    assert drawn == {("orbit",), ("slide",)}
    assert list(choose_groups(cache, rows, 9, 0).rows) == ["orbit", "slide"]


def test_the_command_writes_numbers_and_a_figure(evaluate: Evaluate, cache_path: Path, tmp_path: Path) -> None:
    arguments = ["similarity", cache_path, "--pairs", 15, "--out", tmp_path]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.output
    path = next(tmp_path.glob("similarity-*.json"))
    numbers = json.loads(path.read_text())
    assert set(numbers["per_class"]) == set(COMPARISONS) and set(numbers["per_class"]["intra-class"]) <= {
        "orbit",
        "slide",
    }
    assert -1 <= numbers["intra_class_z_p"] <= 1 and 0 < numbers["kept"] < 1
    # Of a video of one frame nothing is kept; of its pairs nothing is said.
    assert numbers["undefined_pairs"] > 0 and "pairs are left out" in result.output
    assert numbers["intra_video_z"] > numbers["inter_class_z"]
    assert Image.open(path.with_suffix(".png")).size[0] > 400
    before = numbers
    assert evaluate(*arguments).exit_code == 0 and json.loads(path.read_text()) == before


def changed(cache: Path, tmp_path: Path, old: str, new: str) -> Path:
    """A copy of a cache whose index reads otherwise."""
    shutil.copytree(cache, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    assert old in index.read_text()
    index.write_text(index.read_text().replace(old, new))
    return tmp_path / "cache"


def test_without_labels_adjacent_frames_alone_are_compared(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    cache = changed(labelled_cache, tmp_path, "mp4,0,c0", "mp4,,")
    index = cache / "index.csv"
    index.write_text(index.read_text().replace("mp4,1,c1", "mp4,,"))
    result = evaluate("similarity", cache, "--alpha", 0.1, "--pairs", 5, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "intra-class is left out: no video has a label" in result.output
    numbers = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert set(numbers["per_class"]) == {"intra-video"} and "inter_class_z" not in numbers


def test_mistakes_are_reported_in_one_line(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    def error_line(cache: Path, *arguments: object) -> str:
        result = evaluate("similarity", cache, "--pairs", 3, "--out", tmp_path / "out", *arguments)
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.output.splitlines() if line.startswith("s2vc-eval: ")]
        return line

    assert "alpha 100 keeps no latent" in error_line(labelled_cache, "--alpha", 100)
    cache = changed(labelled_cache, tmp_path, "mp4,1,c1", "mp4,,c1")
    assert "5 of 10 videos have no label, first 10.mp4" in error_line(cache)
    shutil.rmtree(cache / "receipts" / "encode")
    assert "has no latents" in error_line(cache)
    index = cache / "index.csv"
    index.write_text(index.read_text().replace(",20,ok,", ",0,failed,broken"))
    assert "no video of" in error_line(cache) and "has frames" in error_line(cache)


def test_a_damaged_latent_is_reported(labelled_cache: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled_cache, tmp_path / "cache")
    cache = Cache(tmp_path / "cache")
    shutil.rmtree(cache.layout.latents(0) / "z" / "c")
    with pytest.raises(UserError, match="s2vc-prep verify"):
        FrameVectors(cache, 0.5, 0).of_frame((0, 0))
