"""The real command compare-flows, and what it measures against plain computations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import Result
from PIL import Image

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.flow import Architecture, Flow, load_flow
from s2vc.pipeline.flow_fitting.compare import gflop, mask_iou, report, suppressed, window_stds
from s2vc.pipeline.flow_fitting.compare_clips import ComparisonClip, recompress, sample_clips
from s2vc.pipeline.static_cues import motion_preserved


@pytest.fixture(scope="module")
def sample() -> list[ComparisonClip]:
    return [clip for clip, _ in zip(sample_clips((72, 96)), range(2), strict=False)]


@pytest.mark.slow
def test_the_table_says_what_each_flow_does(
    cache_path: Path, cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("flow_fitting.compare_clips", "cli.compare_session"):  # half of the sample is enough here
        monkeypatch.setattr(f"s2vc.pipeline.{module}.SAMPLE_VIDEOS", 1)
    done = cli("compare-flows", "default", "untrained", "--on", cache_path, "--videos", 2, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "out" / "flows.csv").set_index("flow")
    assert list(table.index) == ["default", "untrained"]
    kept = table.loc["default", [f"kept_{a}_16" for a in (0.1, 0.3, 0.5, 0.8)]].to_numpy()
    assert (np.diff(kept) < 0).all()
    # Pixels of [0, 1] hardly ever vary by half their range; a trained flow gives its latents unit variance.
    assert table.loc["untrained", "kept_0.5_16"] < 0.1 * table.loc["default", "kept_0.5_16"]
    assert table.loc["default", "background_alpha0.5"] < 0.1 < table.loc["default", "mover_alpha0.5"]
    stable = table[["stable_keep0.1_crf18", "stable_keep0.1_crf28"]]
    assert (stable.iloc[:, 0] > stable.iloc[:, 1]).all() and (stable > 0).all(axis=None) and (stable < 1).all(axis=None)
    picture = Image.open(tmp_path / "out" / "flows.png")
    assert picture.width > 600 and picture.height > 1000
    for name in ("default", "untrained", "movers / backgrounds", "frames/s"):
        assert name in done.output


def test_shares_are_those_of_a_plain_computation(cache_path: Path, sample: list[ComparisonClip]) -> None:
    cache = Cache(cache_path)
    small = cache.small("slide/a.mp4", 0, 32)
    clip = ComparisonClip("a", "", small, small, {18: small, 28: small[::-1].copy()})
    flow = load_flow("default")
    made = report("default", flow, [clip, *sample], done=lambda n: None)
    z, _ = flow.encode(torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255)
    for length in (16, 32):
        for alpha in (0.1, 0.5):
            expected = np.mean(
                [np.std(z[a : a + length].numpy(), axis=0, ddof=1) >= alpha for a in range(0, 32, length)]
            )
            assert made.kept[alpha, length] == pytest.approx(expected, abs=2e-4)
    # The same frames give the same mask; windows in reverse order others, since 32 frames are two windows.
    assert made.effects["alpha 0.5"].stable[18] == 1 > made.effects["alpha 0.5"].stable[28]


def test_overlap_is_intersection_over_union() -> None:
    before, after = torch.tensor([[0.6, 0.6, 0.4, 0.4]]), torch.tensor([[0.6, 0.4, 0.6, 0.4]])
    assert mask_iou([(before, after)], "alpha 0.5") == pytest.approx(1 / 3)
    assert np.isnan(mask_iou([(before / 10, after / 10)], "alpha 0.5"))
    many = before.repeat(1, 5) / 10  # a tenth of 20 latents are two
    assert mask_iou([(many, many)], "keep 0.1") == 1


def test_suppression_is_that_of_algorithm_1(sample: list[ComparisonClip]) -> None:
    flow = load_flow("default")
    small = sample[0].small[:16]
    x = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
    x_p = flow.decode(suppressed(flow.encode(x)[0], "alpha 0.5"))
    expected, std = motion_preserved(x.transpose(0, 1)[None], flow, 0.5)
    torch.testing.assert_close(x_p, expected[0].transpose(0, 1), atol=1e-4, rtol=0)
    torch.testing.assert_close(window_stds(flow.encode(x)[0], 16), std, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_clip_that_is_left_alone_keeps_its_energy(
    sample: list[ComparisonClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2vc.pipeline.flow_fitting.compare.POINTS", {"all": ("alpha", 0.0), "none": ("alpha", 1e6)})
    clip = ComparisonClip("a", "", sample[0].small, sample[0].small, {18: sample[0].small})
    effects = report("default", load_flow("default"), [clip, *sample]).effects
    assert effects["all"].mover == pytest.approx(1, abs=1e-3) and effects["all"].background == pytest.approx(
        1, abs=1e-3
    )
    assert effects["none"].mover < 1e-6 and effects["none"].background < 1e-6


def test_masks_of_the_sample_say_where_something_moves(sample: list[ComparisonClip]) -> None:
    for clip in sample:
        assert clip.mover is not None and clip.background is not None
        change = clip.small.astype(float).std(axis=0).mean(axis=-1)
        assert not (clip.mover.any(axis=0) & clip.background).any()
        assert change[clip.mover.any(axis=0)].mean() > 10 * change[clip.background].mean()


def test_arithmetic_is_that_of_the_paper() -> None:
    assert gflop(Flow(Architecture()).for_inference("cpu", "float32")) == pytest.approx(14.2, abs=0.05)


def test_compression_loses_more_at_a_higher_factor(sample: list[ComparisonClip]) -> None:
    frames = sample[0].frames
    errors = [np.abs(recompress(frames, "24", crf, (72, 96)).astype(float) - frames).mean() for crf in (18, 28)]
    assert 0 < errors[0] < errors[1] < 20


def test_what_cannot_be_compared_is_refused_in_one_line(
    cache_path: Path, cli: Callable[..., Result], tmp_path: Path
) -> None:
    for flows, told in (
        (["default", "default"], "a flow is named twice"),
        (["default", tmp_path / "no.safetensors"], "there is no flow at"),
    ):
        done = cli("compare-flows", *flows, "--on", cache_path, "--out", tmp_path / "x")
        assert done.exit_code == 2 and told in done.output and done.output.count("s2vc-prep: ") == 1, done.output
    done = cli("compare-flows", "default", "--on", tmp_path, "--out", tmp_path / "x")
    assert done.exit_code == 2 and not (tmp_path / "x").exists()
