"""Tests of normality against scipy's, p-values on distributions that are known, and the command on real caches."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from s2vc.eval.analyses.latent_normality import (
    KINDS,
    NORMAL,
    PIXELS,
    STATIC_LATENTS,
    NormalityResult,
    Series,
    draw_series,
    fit_normal,
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
    assert tested.add(Series(PIXELS, "v", 4, np.full(20, 0.25)), 0) is None
    assert tested.numbers == {"series": 1, "constant": 1}
    assert tested.add(Series(PIXELS, "v", 5, np.arange(20.0)), 0) is not None
    assert tested.numbers["series"] == 2 and 0 <= tested.numbers["lilliefors_h0"] <= 1
    assert tested.records[0] == {"video_id": "v", "place": 4, "constant": True}
    assert tested.counts.sum() == 20


def test_series_are_the_stored_values_of_a_video(labelled_cache: Path) -> None:
    cache = Cache(labelled_cache)
    video = cache.index["video_id"].iloc[2]
    alpha = float(np.median(cache.std(video)))
    series = draw_series(cache, 2, 8, alpha, seed=0)
    assert [s.kind for s in series] == [PIXELS] * 8 + [STATIC_LATENTS] * 8 + [NORMAL] * 8
    small, z = cache.small(video).reshape(20, -1), cache.latents(video)
    for one in series[:8]:
        np.testing.assert_allclose(one.values, small[:, one.place] / 255)
    for one in series[8:16]:
        np.testing.assert_array_equal(one.values, z[:, one.place])
        assert cache.std(video)[one.place] < alpha
    assert len({one.place for one in series[:8]}) == 8 and all(len(one.values) == 20 for one in series)


def test_the_command_writes_numbers_and_a_figure(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    result = evaluate("normality", labelled_cache, "--alpha", 1, "--videos", 4, "--dims", 5, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    path = next(tmp_path.glob("normality-*.json"))
    numbers = json.loads(path.read_text())
    assert numbers["videos"] == 4 and numbers["latents_series"] == numbers["normal_series"] == 20
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

    assert "no latent of the 10 videos has an STD below alpha 0" in error_line(labelled_cache, "--alpha", 0)
    shutil.copytree(labelled_cache, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",20,ok,", ",15,ok,"))
    assert "16 frames or more; the longest has 15" in error_line(tmp_path / "cache")
