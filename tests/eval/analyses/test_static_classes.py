"""Gains by class and their correlation with the accuracy on still clips."""

import numpy as np
import pytest
from scipy import stats

from s2vc.eval.analyses.static_classes import correlation, relative_gain


def test_relative_gain_is_of_what_stills_reach() -> None:
    gain = relative_gain(np.array([0.6, 0.2, 0.5, np.nan]), np.array([0.4, 0.4, 0.0, 0.5]))
    np.testing.assert_allclose(gain[:2], [0.5, -0.5])
    assert np.isnan(gain[2:]).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_correlation_is_pearsons_and_its_interval_that_of_fisher(seed: int) -> None:
    rng = np.random.default_rng(seed)
    still = rng.uniform(0.1, 0.9, 101)
    gain = -0.8 * still + 0.4 * rng.standard_normal(101)
    found = correlation(gain, still, seed=0)
    assert found is not None and found.classes == 101
    expected = stats.pearsonr(still, gain)
    low, high = expected.confidence_interval(0.95)  # by Fisher's transformation
    assert found.r == pytest.approx(expected.statistic)
    assert found.low == pytest.approx(low, abs=0.06) and found.high == pytest.approx(high, abs=0.06)


def test_it_is_refused_under_20_classes_and_where_nothing_varies() -> None:
    still = np.linspace(0.1, 0.9, 30)
    gain = np.where(np.arange(30) < 11, np.nan, -still)  # 19 are left
    assert correlation(gain, still, 0) is None
    assert correlation(np.where(np.arange(30) < 10, np.nan, -still), still, 0) is not None
    assert correlation(np.zeros(30), still, 0) is None
