"""Eqs. 4 and 5 and the ablations, against computations written out here."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2vc.pipeline.choices import STRATEGIES
from s2vc.pipeline.flow import LATENTS, load_flow
from s2vc.pipeline.static_cues import (
    RunningStd,
    alpha_to_keep,
    motion_preserved,
    standard_deviation,
    suppress,
    suppressed_set,
    suppressor,
    upsample,
)

D = 50


def latents(frames: int = 16, seed: int = 0) -> torch.Tensor:
    """z (frames, D) float32 whose columns vary by very different amounts."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(0.01, 1.5, D)
    return torch.from_numpy((rng.standard_normal((frames, D)) * spread + rng.standard_normal(D)).astype(np.float32))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@given(
    frames=st.integers(1, 60),
    cuts=st.lists(st.integers(1, 20), max_size=8),
    offset=st.sampled_from([0.0, 1000.0]),
    seed=st.integers(0, 99),
)
def test_std_of_pieces_is_the_sample_std_of_the_whole(frames: int, cuts: list[int], offset: float, seed: int) -> None:
    z = latents(frames, seed) + offset
    running, start = RunningStd(), 0
    for cut in [*cuts, frames]:
        if start < frames:
            running.update(z[start : start + cut])
            start += cut
    running.update(z[start:]) if start < frames else None
    expected = z.double().numpy().std(axis=0, ddof=1) if frames > 1 else np.zeros(D)
    np.testing.assert_allclose(running.value(), expected, rtol=1e-6, atol=1e-9)


def test_static_is_strictly_below_alpha() -> None:
    std = torch.tensor([0.4999, 0.5, 0.5001])
    assert suppressed_set(std, 0.5, "zero", rng()).tolist() == [True, False, False]


def test_alpha_zero_suppresses_nothing_and_a_large_one_all() -> None:
    std = standard_deviation(latents())
    assert not suppressed_set(std, 0.0, "zero", rng()).any()
    assert suppressed_set(std, 100.0, "zero", rng()).all()


def test_reverse_suppresses_what_zero_keeps() -> None:
    std = standard_deviation(latents())
    assert torch.equal(suppressed_set(std, 0.5, "reverse", rng()), ~suppressed_set(std, 0.5, "zero", rng()))


def test_random_suppresses_as_many_as_zero_but_others() -> None:
    std = standard_deviation(latents())
    zero, random = (suppressed_set(std, 0.5, s, rng()) for s in ("zero", "random"))
    assert zero.sum() == random.sum()
    assert not torch.equal(zero, random)


@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_alpha_to_keep_keeps_the_share(share: float, seed: int) -> None:
    std = standard_deviation(latents(seed=seed))
    kept = (std >= alpha_to_keep(std, share)).sum()
    assert int(kept) == round(share * D)


@pytest.mark.parametrize("noise", [0.0, 2e-6])
def test_of_a_still_window_no_share_is_kept_but_all(noise: float) -> None:
    """Its STDs are equal, or differ by the rounding of batches of different sizes."""
    std = noise * torch.rand(D, generator=torch.Generator().manual_seed(0))
    kept = [int((~suppressed_set(std, alpha_to_keep(std, s), "zero", rng())).sum()) for s in (0.0, 0.2, 0.98, 1.0)]
    assert kept == [0, 0, 0, D]


def test_where_fewer_latents_vary_than_the_share_these_are_kept() -> None:
    std = torch.zeros(D)
    std[[3, 7, 11]] = torch.tensor([0.5, 1e-4, 0.02])
    suppressed = suppressed_set(std, alpha_to_keep(std, 0.2), "zero", rng())
    assert (~suppressed).nonzero()[:, 0].tolist() == [3, 7, 11]


def test_of_equal_stds_the_first_are_kept_and_never_more_than_the_share() -> None:
    """A tenth of the pixel values of X' vary widely, and six tenths by one grey level in one frame of eight, whose STDs
    are all alike: of these the first tenth completes the share of 0.2."""
    grey, varied = torch.full((8, 12288), 100.0), torch.arange(12288) % 10
    grey[::2, varied == 4] += 50
    grey[3, varied >= 4] += 1
    wide, equal = (varied == 4).nonzero()[:, 0], (varied > 4).nonzero()[:, 0]
    clip = (grey / 255).view(8, 3, 64, 64).transpose(0, 1)[None]
    v_p, std = motion_preserved(clip, load_flow("default"), 0.2, "tfd")
    assert len(torch.unique(std[0][equal])) == 1
    kept = v_p[0].transpose(0, 1).flatten(1).abs().amax(dim=0).nonzero()[:, 0]
    expected = torch.cat([wide, equal[: round(0.2 * 12288) - len(wide)]]).sort().values
    assert kept.tolist() == expected.tolist()


def test_zero_sets_static_latents_to_zero_and_no_other() -> None:
    z = latents()
    static = suppressed_set(standard_deviation(z), 0.5, "zero", rng())
    z_p = suppress(z, static, "zero", rng())
    assert (z_p[:, static] == 0).all()
    assert torch.equal(z_p[:, ~static], z[:, ~static])


def test_noise_is_one_normal_draw_held_over_the_window() -> None:
    z = latents(seed=3)
    static = torch.ones(D, dtype=torch.bool)
    z_p = suppress(z, static, "noise", rng())
    assert (z_p == z_p[0]).all()
    assert 0.7 < float(z_p[0].std()) < 1.3


def test_shuffle_clip_permutes_each_static_latent_over_the_frames() -> None:
    z = latents()
    static = suppressed_set(standard_deviation(z), 0.5, "zero", rng())
    z_p = suppress(z, static, "shuffle-clip", rng())
    assert torch.equal(z_p[:, ~static], z[:, ~static])
    assert torch.equal(z_p.sort(dim=0).values, z.sort(dim=0).values)
    moved = {tuple(z[:, i].argsort()[z_p[:, i].argsort().argsort()].tolist()) for i in static.nonzero()[:, 0]}
    assert len(moved) > 1, "each latent has a permutation of its own"


def test_shuffle_frame_permutes_static_values_within_each_frame_anew() -> None:
    z = latents()
    z[1] = z[0]
    static = suppressed_set(standard_deviation(z), 0.5, "zero", rng())
    z_p = suppress(z, static, "shuffle-frame", rng())
    assert torch.equal(z_p[:, ~static], z[:, ~static])
    assert torch.equal(z_p[:, static].sort(dim=1).values, z[:, static].sort(dim=1).values)
    assert not torch.equal(z_p[0], z_p[1])


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "shuffle-clip"])
def test_a_window_in_pieces_is_suppressed_as_a_whole_one(strategy: str) -> None:
    z = latents()
    static = suppressed_set(standard_deviation(z), 0.5, "zero", rng())
    apply = suppressor(static, strategy, rng())
    pieces = torch.cat([apply(z[:5]), apply(z[5:6]), apply(z[6:])])
    assert torch.equal(pieces, suppress(z, static, strategy, rng()))


@given(height=st.integers(16, 400), width=st.integers(16, 400))
@settings(max_examples=30)
def test_upsample_takes_the_nearest_cell(height: int, width: int) -> None:
    x = torch.arange(64 * 64.0).reshape(1, 1, 64, 64)
    large = upsample(x, height, width)
    rows = large[0, 0, :, 0] // 64
    # Cell boundaries fall on floor(i * 64 / height), up to the rounding of that product.
    exact = torch.arange(height) * 64 / height
    assert ((rows == exact.floor()) | ((exact - exact.round()).abs() < 1e-4)).all()


def clip(batch: int = 2, frames: int = 8) -> torch.Tensor:
    """Still noise with a moving bright bar: (B, 3, T, 80, 96) float32 in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(batch, 3, 1, 80, 96, generator=generator).repeat(1, 1, frames, 1, 1) * 0.5
    for t in range(frames):
        video[:, :, t, 20:50, 8 * t : 8 * t + 14] = 0.9
    return video


def test_a_clip_with_nothing_suppressed_comes_back_untouched() -> None:
    v_p, std = motion_preserved(clip(), load_flow("default"), alpha=0.0)
    assert torch.equal(v_p, clip())
    assert std.shape == (2, LATENTS)


def test_motion_preserved_is_algorithm_1() -> None:
    flow, v = load_flow("default"), clip(1)
    v_p, std = motion_preserved(v, flow, alpha=0.5)
    frames = v[0].transpose(0, 1)
    small = torch.nn.functional.adaptive_avg_pool2d(frames, (64, 64))
    z = flow.encode(small)[0].numpy()
    expected_std = z.astype(np.float64).std(axis=0, ddof=1)
    z[:, expected_std < 0.5] = 0
    x_p = flow.decode(torch.from_numpy(z))
    residual = frames - torch.nn.functional.interpolate(small, (80, 96))
    expected = torch.nn.functional.interpolate(x_p, (80, 96)) + residual
    np.testing.assert_allclose(std[0], expected_std, atol=1e-5)
    torch.testing.assert_close(v_p[0].transpose(0, 1), expected, atol=2e-5, rtol=0)


def test_clips_of_a_batch_do_not_touch_each_other() -> None:
    flow = load_flow("default")
    v = clip(2)
    v[1] = v[1].flip(-1)
    together, _ = motion_preserved(v, flow, 0.5)
    alone, _ = motion_preserved(v[1:], flow, 0.5)
    torch.testing.assert_close(together[1:], alone, atol=2e-4, rtol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_runs_and_repeats(strategy: str) -> None:
    flow = load_flow("default")
    level = 0.2 if strategy == "tfd" else 0.5
    one, _ = motion_preserved(clip(1), flow, level, strategy, seed=3)
    two, _ = motion_preserved(clip(1), flow, level, strategy, seed=3)
    assert torch.equal(one, two)
    assert not torch.equal(one, clip(1))


def test_each_clip_may_have_an_alpha_of_its_own() -> None:
    v, flow, alphas = clip(), load_flow("default"), [0.2, 0.7]
    together, _ = motion_preserved(v, flow, alphas)
    for number, alpha in enumerate(alphas):
        alone, _ = motion_preserved(v[number : number + 1], flow, alpha)
        torch.testing.assert_close(together[number], alone[0], atol=1e-3, rtol=0)
    assert not torch.equal(together[0], motion_preserved(v, flow, 0.7)[0][0])
    with pytest.raises(ValueError, match="2 clips take one alpha, or 2 of them, not 3"):
        motion_preserved(v, flow, [0.2, 0.7, 0.9])


def test_tfd_keeps_the_pixels_that_vary_most() -> None:
    v = clip(1)
    v_p, std = motion_preserved(v, load_flow("default"), 0.2, "tfd")
    small = torch.nn.functional.adaptive_avg_pool2d(v[0].transpose(0, 1), 64).flatten(1)
    deviation = small.double().std(dim=0)
    dropped = deviation < deviation.sort(descending=True).values[round(0.2 * LATENTS) - 1]
    x_p = small * ~dropped
    change = torch.nn.functional.interpolate((x_p - small).reshape(-1, 3, 64, 64), (80, 96))
    torch.testing.assert_close(v_p[0].transpose(0, 1), v[0].transpose(0, 1) + change, atol=1e-6, rtol=0)
    torch.testing.assert_close(std[0].double(), deviation, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(3, 8, 80, 96), (1, 1, 8, 80, 96)])
def test_clips_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 3, T, H, W\)"):
        motion_preserved(torch.zeros(shape), load_flow("default"), 0.5)
