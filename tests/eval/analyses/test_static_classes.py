"""Gains by class and their correlation with the accuracy on still clips."""

import numpy as np
import pytest
from scipy import stats

from s2vc.eval.analyses.static_classes import class_gains, correlation, permutation_null, relative_gain
from s2vc.eval.paper import STATIC_BIAS_R


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


@pytest.mark.parametrize("seed", range(3))
def test_what_falls_by_construction_is_told_from_what_falls_by_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    still, accuracy = rng.uniform(0.1, 0.9, (2, 101))
    found, null = correlation(relative_gain(accuracy, still), still, 0), permutation_null(accuracy, still, 0)
    # a and s have nothing to do with each other, and r is far below 0 all the same, with an interval without 0.
    assert found is not None and null is not None and found.high < 0
    # Independent: r of gains whose a are drawn anew from the same distribution, in a loop.
    drawn = [stats.pearsonr(rng.choice(accuracy, 101) / still - 1, still).statistic for _ in range(400)]
    assert null.r == pytest.approx(np.mean(drawn), abs=0.02)
    assert (null.low, null.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.05)
    # Where a rises less than s does, r is lower than the construction makes it.
    steep = permutation_null(0.8 - 0.6 * still + 0.02 * rng.standard_normal(101), still, 0)
    assert steep is not None and steep.p < 0.01


def test_p_is_uniform_where_there_is_nothing_to_find() -> None:
    rng = np.random.default_rng(5)
    p = []
    for number in range(60):
        null = permutation_null(rng.uniform(0, 1, 24), rng.uniform(0.2, 0.9, 24), number)
        assert null is not None
        p.append(null.p)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_moco_has_an_r_of_its_own_and_the_papers_stands_beside() -> None:
    rng = np.random.default_rng(0)
    still, ours, moco = rng.uniform(0.2, 0.8, (3, 25))
    own, of_moco, over = class_gains(still, ours, moco, 0)
    for gain, accuracy in ((own, ours), (of_moco, moco)):
        expected = stats.pearsonr((accuracy - still) / still, still).statistic
        assert gain.numbers[f"r_{gain.key}"] == pytest.approx(expected)
        assert 0 < gain.numbers[f"p_{gain.key}"] <= 1 and "by construction" in gain.note
    assert over.numbers["r_over_moco"] == pytest.approx(stats.pearsonr(ours - moco, still).statistic)
    assert "r_over_moco_permuted" not in over.numbers and over.note == ""  # s does not stand in it
    assert (own.paper, of_moco.paper) == (-0.40, -0.33) == (STATIC_BIAS_R["s2vc"], STATIC_BIAS_R["moco"])
    others = class_gains(still, ours, moco, 0, ("random", "s2vc"))
    assert (others[0].paper, others[1].paper) == (None, STATIC_BIAS_R["s2vc"]) and "paper" not in others[0].note
    assert "-0.33" in of_moco.note and [gain.key for gain in class_gains(still, ours, None, 0)] == ["relative"]
