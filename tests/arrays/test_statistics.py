"""Interquartile mean and bootstrap, by hand and by simulation."""

import numpy as np
import pytest

from pgcli.arrays.statistics import (
    bootstrap_interval,
    difference_interval,
    iqm,
    iqm_band,
    iqm_weights,
    pooled_iqm,
    summary,
)


def test_iqm_of_eight_is_the_mean_of_the_middle_four() -> None:
    # 8/4 = 2 go at each end: (3 + 4 + 5 + 6)/4 = 4.5, whatever the outer ones are
    assert iqm(np.array([100.0, 3, 6, -50, 4, 5, 2, 7])) == 4.5


def test_iqm_counts_values_at_the_cut_in_part() -> None:
    # 5/4 = 1.25 go at each end: (0.75·1 + 2 + 0.75·10)/2.5 = 4.1
    assert iqm(np.array([0.0, 1, 2, 10, 99])) == pytest.approx(4.1)


def test_iqm_of_ten_weighs_the_third_and_eighth_by_half() -> None:
    # 2.5 at each end; 5 remain: (0, 0, .5, 1, 1, 1, 1, .5, 0, 0)/5
    expected = np.array([0, 0, 0.5, 1, 1, 1, 1, 0.5, 0, 0]) / 5
    np.testing.assert_allclose(iqm_weights(10), expected)


@pytest.mark.parametrize("count", range(1, 30))
def test_iqm_weights_sum_to_one_and_are_symmetric(count: int) -> None:
    weights = iqm_weights(count)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-12)


def test_iqm_of_one_or_two_values_is_their_mean() -> None:
    assert iqm(np.array([7.0])) == 7
    assert iqm(np.array([1.0, 4.0])) == 2.5


def test_iqm_works_over_the_last_axis() -> None:
    rows = np.array([[1.0, 2, 3, 4], [9, 9, 0, 0]])
    # (2 + 3)/2 and (0 + 9)/2
    np.testing.assert_allclose(iqm(rows), [2.5, 4.5])


def test_bootstrap_of_equal_values_has_no_width() -> None:
    ends = bootstrap_interval(np.full(6, 3.5), statistic=pooled_iqm)
    assert ends == pytest.approx((3.5, 3.5))


def test_bootstrap_of_two_values_has_the_three_means_with_their_odds() -> None:
    # resamples of {0, 1}: mean 0 with 1/4, ½ with 1/2, 1 with 1/4
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0, 1)
    inner = bootstrap_interval(np.array([0.0, 1.0]), confidence=0.4)
    assert inner == (0.5, 0.5)


def test_stratified_bootstrap_never_moves_values_between_strata() -> None:
    # within each stratum all are equal, so nothing is left to resample; pooled
    # resampling would mix the two and give [0, 10] some width
    strata = (np.zeros(5), np.full(5, 10.0))
    assert bootstrap_interval(*strata, statistic=pooled_iqm) == pytest.approx((5, 5))
    low, high = bootstrap_interval(np.concatenate(strata), statistic=pooled_iqm)
    assert high - low > 5


@pytest.mark.parametrize("statistic", ["iqm", "mean"])
def test_interval_of_twenty_seeds_covers_its_target_about_as_often_as_it_says(
    statistic: str,
) -> None:
    # Normal scores, so that IQM and mean both aim at 0. The percentile bootstrap of 20
    # values is known to fall a little short of 95 %; 400 trials have a standard error
    # of 1.2 points, so [0.88, 0.98] is missed by chance in under 1 of 1,000.
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(400):
        scores = generator.normal(size=20)
        how = {"statistic": pooled_iqm} if statistic == "iqm" else {}
        low, high = bootstrap_interval(scores, resamples=500, **how)
        hits += low <= 0 <= high
    assert 0.88 <= hits / 400 <= 0.98


def test_difference_interval_is_of_upper_minus_lower() -> None:
    low, high = difference_interval(np.array([1.0, 1, 1]), np.array([4.0, 4, 4]))
    assert (low, high) == (3, 3)


def test_summary_has_iqm_mean_and_worst() -> None:
    found = summary(np.array([0.0, 10, 20, 90]))
    # middle half of four: (10 + 20)/2; mean (0 + 10 + 20 + 90)/4
    assert (found["iqm"], found["mean"], found["worst"]) == (15, 30, 0)
    low, high = found["iqm_ci"]
    assert low <= 15 <= high


def test_iqm_band_resamples_whole_curves() -> None:
    curves = np.array([[0.0, 100], [1, 101], [2, 102], [3, 103]])
    middle, low, high = iqm_band(curves)
    np.testing.assert_allclose(middle, [1.5, 101.5])
    # the second column is the first + 100, under the same draws
    np.testing.assert_allclose(low[1] - low[0], 100)
    np.testing.assert_allclose(high[1] - high[0], 100)
