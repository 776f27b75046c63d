"""Statistics of sums, and the coverage of their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.metrics import r2_score

from layerprobe.classify.scores.sums import (
    moments,
    r_squared,
    r_squared_differences,
    r_squared_intervals,
    ratio,
    sum_intervals,
)
from layerprobe.classify.tasks.task import sums_by_cluster

Z = 30  # speakers of a simulation


def test_r_squared_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = 40 + 3 * rng.standard_normal(200)
    predicted = np.stack([y + rng.standard_normal(200), np.full(200, 41.0), rng.permutation(y)], axis=1)
    sums = sums_by_cluster(moments(y, predicted), np.arange(200) % 7)
    assert sums.shape == (7, 3, 4)
    expected = [r2_score(y, column) for column in predicted.T]
    np.testing.assert_allclose(r_squared(sums.sum(0)), expected, atol=1e-9)
    intervals = r_squared_intervals(sums)
    for interval, value in zip(intervals, expected, strict=True):
        assert interval.value == pytest.approx(value)
        assert interval.low < interval.value < interval.high <= 1
    first, _, last = intervals
    (difference,) = r_squared_differences(sums[:, :1], sums[:, 2:])
    assert difference.value == pytest.approx(first.value - last.value)
    assert difference.low < difference.value < difference.high


def test_a_mean_has_the_interval_of_resampled_clusters() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(1.0, (40, 1))
    sums = np.stack([values, np.ones_like(values)], axis=-1)
    (interval,) = sum_intervals(sums, ratio, np.ones(40), within=(0, np.inf), seed=0)
    reach = student.ppf(0.975, 39) * values.std(ddof=1) / 40**0.5
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * reach, rel=0.1)


def test_values_that_do_not_differ_have_no_r_squared() -> None:
    sums = sums_by_cluster(moments(np.full(20, 3.0), np.zeros((20, 1))), np.arange(20) % 4)
    assert np.isnan(r_squared(sums.sum(0))).all()


def test_one_cluster_has_no_interval() -> None:
    (interval,) = sum_intervals(np.array([[[3.0, 2.0]]]), ratio, np.ones(1), seed=0)
    assert interval.value == 1.5
    assert np.isnan(interval.low)


def covered(simulations: int, *, seed: int, count: int = Z) -> float:
    """The share of simulated data sets whose interval has the true R², of predictions with speaker effects.

    y = s + e and the prediction is s + b: s and b are each speaker's, so errors of a speaker are correlated.
    """
    rng = np.random.default_rng(seed)
    true = 1 - (0.5**2 + 1) / (1.5**2 + 1)
    inside = 0
    for _ in range(simulations):
        each = rng.integers(5, 15, count)
        speakers = np.repeat(np.arange(count), each)
        own = 1.5 * rng.standard_normal(count)
        bias = 0.5 * rng.standard_normal(count)
        y = own[speakers] + rng.standard_normal(len(speakers))
        sums = sums_by_cluster(moments(y, (own + bias)[speakers][:, None]), speakers)
        (interval,) = r_squared_intervals(sums)
        inside += interval.low <= true <= interval.high
    return inside / simulations


def test_intervals_cover_the_truth() -> None:
    assert 0.93 <= covered(1000, seed=0) <= 0.97


def test_intervals_of_ten_speakers_cover_the_truth() -> None:
    assert covered(1000, seed=0, count=10) >= 0.905


@pytest.mark.soak
def test_intervals_cover_the_truth_in_many_simulations() -> None:
    assert 0.93 <= covered(20_000, seed=1) <= 0.97
