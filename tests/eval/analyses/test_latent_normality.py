"""Tests of normality against scipy's, p-values on distributions that are known, and the command on real caches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from scipy import stats

from s2vc.eval.analyses.latent_normality import (
    CONTROLS,
    EIGHT_BITS,
    KINDS,
    PIXELS,
    STATIC_LATENTS,
    NormalityResult,
    Rounding,
    Series,
    draw_series,
    fit_normal,
    latent_rounding,
    standardise,
)
from s2vc.pipeline.cache import Cache
from tests.eval.conftest import Evaluate


@pytest.mark.parametrize("n", [16, 101, 500])
def test_the_published_test_is_that_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    for values in (rng.normal(3, 0.1, n), rng.exponential(size=n), rng.integers(0, 4, n) / 255):
        fit = fit_normal(values, seed=0)
        expected = stats.kstest(stats.zscore(values, ddof=1), "norm").pvalue
        assert fit.published_p == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert (fit.n, fit.mean, fit.std) == pytest.approx((n, values.mean(), values.std(ddof=1)))


@pytest.mark.parametrize("seed", range(3))
def test_lilliefors_is_what_scipy_simulates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(5, 60)
    expected = stats.goodness_of_fit(stats.norm, values, statistic="ks", n_mc_samples=4999, rng=rng).pvalue
    # Two counts of simulations: each with a standard error of 0.011 at most.
    assert fit_normal(values, seed=0).lilliefors_p == pytest.approx(expected, abs=0.045)


def test_p_values_are_uniform_for_normal_values_and_small_for_others() -> None:
    rng = np.random.default_rng(1)
    p = [fit_normal(values, 0).lilliefors_p for values in rng.normal(-2, 5, (300, 100))]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.04)
    # Where the published test lets nearly all pass, as mean and STD come from the values themselves.
    published = [fit_normal(values, 0).published_p for values in rng.normal(-2, 5, (300, 100))]
    assert np.mean(np.array(published) < 0.05) < 0.01
    for others in (rng.uniform(size=(50, 200)), rng.exponential(size=(50, 200))):
        assert np.median([fit_normal(values, 0).lilliefors_p for values in others]) < 0.05


def test_the_mse_vanishes_for_the_normal_itself_and_is_known_for_two_values() -> None:
    quantiles = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    assert fit_normal(quantiles, 0).mse < 1e-6
    # Half of the values at -1, half at 1 (nearly): two bins of width 0.4 at density 1.25, all others empty.
    edges = np.linspace(-4, 4, 21)
    density = np.diff(stats.norm.cdf(edges)) / 0.4
    expected = density.copy()
    expected[[7, 12]] -= 1.25
    assert fit_normal(np.repeat([0.0, 1.0], 1000), 0).mse == pytest.approx(np.mean(expected**2), rel=1e-6)


def test_series_of_any_scale_are_alike() -> None:
    values = np.random.default_rng(0).gamma(3, size=80)
    one, other = fit_normal(values, 0), fit_normal(1e-3 * values - 7, 0)
    assert (one.mse, one.published_p) == pytest.approx((other.mse, other.published_p))
    assert standardise(values).std(ddof=1) == pytest.approx(1) and abs(standardise(values).mean()) < 1e-12


def test_constant_series_are_counted_and_not_tested() -> None:
    tested = NormalityResult()
    assert tested.add(Series(PIXELS, "v", 4, np.full(20, 0.25), np.full(20, 0.25)), 0) is None
    assert tested.numbers == {"series": 1, "constant": 1}
    assert tested.add(Series(PIXELS, "v", 5, np.arange(20.0), np.arange(20.0)), 0) is not None
    assert tested.numbers["series"] == 2 and 0 <= tested.numbers["lilliefors_h0"] <= 1
    assert tested.records[0] == {"video_id": "v", "place": 4, "constant": True}
    assert tested.counts.sum() == 20


def test_series_are_the_stored_values_of_a_video(labelled_cache: Path) -> None:
    cache = Cache(labelled_cache)
    video = cache.index["video_id"].iloc[2]
    alpha = float(np.median(cache.std(video)))
    series = draw_series(cache, 2, 8, alpha, seed=0)
    own = {kind: [s for s in series if s.kind == kind] for kind in KINDS}
    assert [len(of) for of in own.values()] == [8] * 4
    small, z = cache.small(video).reshape(20, -1), cache.latents(video)
    for one in own[PIXELS]:
        np.testing.assert_allclose(one.values, small[:, one.place] / 255)
        assert 0 < np.abs(255 * (one.dithered - one.values)).max() <= 0.5
    for one in own[STATIC_LATENTS]:
        np.testing.assert_array_equal(one.values, z[:, one.place])
        assert cache.std(video)[one.place] < alpha
    assert len({one.place for one in own[PIXELS]}) == 8 and all(len(one.values) == 20 for one in series)
    for kind, control in CONTROLS.items():
        assert [one.place for one in own[control]] == [one.place for one in own[kind]]
        for one, normal in zip(own[kind], own[control], strict=True):
            scale = one.values.std(ddof=1)
            assert abs(normal.values.mean() - one.values.mean()) < 5 * scale / np.sqrt(20) + 1 / 255
    np.testing.assert_allclose(np.rint(255 * own["normal_pixels"][0].values), 255 * own["normal_pixels"][0].values)
    for one in own["normal_latents"]:
        np.testing.assert_array_equal(one.values, one.values.astype(np.float16))


def shares_accepted(series: np.ndarray, dithered: np.ndarray) -> tuple[float, float]:
    """The share of normal series (N, n) that Lilliefors' test accepts, as they are and dithered."""
    tested = NormalityResult()
    for values, more in zip(series, dithered, strict=True):
        tested.add(Series(PIXELS, "v", 0, values, more), 0)
    return tested.numbers["lilliefors_h0"], tested.numbers["dithered_lilliefors_h0"]


@pytest.mark.parametrize(
    ("rounding", "std", "rejected"),
    [
        (EIGHT_BITS, 1.2 / 255, True),  # 1.2 grey levels
        (Rounding(np.full(150, 0.125)), 0.15, True),  # q8, 1.2 steps
        (Rounding(np.dtype(np.float16)), 0.15, False),
    ],
)
def test_normal_series_are_rejected_for_their_rounding_and_not_dithered(
    rounding: Rounding, std: float, rejected: bool
) -> None:
    rng = np.random.default_rng(2)
    series = np.stack([rounding.round(values) for values in rng.normal(0.5, std, (150, 150))])
    plain, dithered = shares_accepted(series, np.stack([rounding.dither(values, rng) for values in series]))
    # Dithered, as many as the level says are rejected: 5 % of 150, whose standard error is 1.8 points.
    assert dithered == pytest.approx(0.95, abs=0.07)
    assert plain < 0.3 if rejected else plain == pytest.approx(0.95, abs=0.07)


def test_rounding_is_that_of_what_is_stored() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.4, 1000)
    bits = EIGHT_BITS.round(values)
    np.testing.assert_array_equal(np.rint(bits * 255), np.clip(np.rint(values * 255), 0, 255))
    half = Rounding(np.dtype(np.float16))
    rounded = half.round(values)
    np.testing.assert_array_equal(rounded, values.astype(np.float16).astype(float))
    # What is dithered would be rounded to the same number again, but at powers of two, where the step changes.
    again = half.round(half.dither(rounded, np.random.default_rng(1)))
    assert (again == rounded).mean() > 0.95 and np.abs(again - rounded).max() < 2e-3


def test_steps_of_q8_are_read_frame_by_frame(
    cli: Callable[..., Result], evaluate: Evaluate, videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_text("video_id\norbit/short.mp4\nslide/b c.mp4\n")
    arguments = ["encode", tmp_path / "m.csv", "--root", videos, "--out", tmp_path / "cache", "--latents", "q8"]
    done = cli(*arguments, "--size", "64x80")
    assert done.exit_code == 0, done.output
    cache = Cache(tmp_path / "cache")
    step = latent_rounding(cache, 1).step
    z = cache.latents("slide/b c.mp4").astype(np.float64)
    assert isinstance(step, np.ndarray) and step.shape == (21,)
    np.testing.assert_array_equal(np.rint(z / step[:, None]) * step[:, None], z)
    assert (np.rint(z / (2 * step[:, None])) * 2 * step[:, None] != z).any(axis=1).all()  # and no step is too fine
    result = evaluate("normality", cache.storage.location, "--alpha", 1, "--dims", 4, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "q8 rounds latents to steps of 1/8" in result.output
    numbers = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert numbers["latents_stored"] == "q8" and numbers["latents_dithered_lilliefors_h0"] >= 0


def test_the_command_writes_numbers_and_a_figure(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    result = evaluate("normality", labelled_cache, "--alpha", 1, "--videos", 4, "--dims", 5, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    path = next(tmp_path.glob("normality-*.json"))
    numbers = json.loads(path.read_text())
    assert numbers["videos"] == 4 and numbers["latents_series"] == numbers["normal_latents_series"] == 20
    for kind in KINDS:
        assert len(numbers[kind]) == 20
        assert numbers[f"{kind}_published_h0"] >= numbers[f"{kind}_lilliefors_h0"]
    assert Image.open(path.with_suffix(".png")).size[0] > 400


def test_mistakes_are_reported_in_one_line(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    def error_line(cache: Path, *arguments: object) -> str:
        result = evaluate("normality", cache, "--out", tmp_path / "out", *arguments)
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.output.splitlines() if line.startswith("s2vc-eval: ")]
        return line

    assert "no latent of 10 videos has an STD below alpha 0" in error_line(labelled_cache, "--alpha", 0)
    shutil.copytree(labelled_cache, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",20,ok,", ",15,ok,"))
    assert "16 frames or more; the longest has 15" in error_line(tmp_path / "cache")
