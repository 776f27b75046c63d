"""Intervals of RMSE and MAE: matrices and simulations as witnesses, and how often they cover the truth."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.stats import chi2

from layerprobe.classify.scores.errors import (
    chi_square_ends,
    error_intervals,
    error_parts,
    log_variance,
    normal_variance,
)
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.tasks.moments import sums
from layerprobe.classify.tasks.registry import MEASURES

UNEVEN = np.array([350, 340, 300] + [60] * 5 + [20] * 20 + [15] * 16 + [4] * 16)  # much like BAVED's
METRICS: tuple[Literal["rmse", "mae"], ...] = ("rmse", "mae")


def simulate(sizes: np.ndarray, *, studies: int, offset: float, own_spread: float = 0.0) -> np.ndarray:
    """(speakers, studies, 13) sums of errors with variance 0.3 within speakers, around offsets of their own.

    own_spread: of the logarithm of each speaker's standard deviation.
    """
    rng, speaker = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    columns = []
    for _ in range(studies):
        scale = np.exp(own_spread * rng.standard_normal(len(sizes)))
        error = offset * rng.standard_normal(len(sizes))[speaker]
        error += 0.3**0.5 * scale[speaker] * rng.standard_normal(len(speaker))
        columns.append(sums(np.zeros(len(speaker)), error, speaker))
    return np.stack(columns, axis=1)


def coverage(statistics: np.ndarray, metric: Literal["rmse", "mae"], truth: float) -> float:
    return float(
        np.mean([one.low <= truth <= one.high for one in error_intervals(statistics, metric=metric)])
    )


@pytest.mark.parametrize("sizes", [np.full(10, 20), np.full(30, 20), UNEVEN], ids=["10", "30", "uneven"])
@pytest.mark.parametrize("offset", [0.2**0.5, 0.8])
def test_most_intervals_cover_the_truth_with_few_and_uneven_speakers(
    sizes: np.ndarray, offset: float
) -> None:
    """Percentiles of a bootstrap cover RMSE in 87 to 91 of 100 studies with 10 or with uneven speakers."""
    statistics, variance = simulate(sizes, studies=500, offset=offset), offset**2 + 0.3
    assert 0.905 <= coverage(statistics, "rmse", variance**0.5) <= 0.99
    assert 0.905 <= coverage(statistics, "mae", (2 / np.pi * variance) ** 0.5) <= 0.99


def test_speakers_whose_errors_spread_differently_are_covered_too() -> None:
    """Where errors are not normal, what speakers' losses show decides."""
    statistics = simulate(np.full(30, 20), studies=500, offset=0.3, own_spread=0.5)
    assert 0.905 <= coverage(statistics, "rmse", (0.09 + 0.3 * np.exp(2 * 0.25)) ** 0.5) <= 0.99


def test_the_values_are_those_of_the_measures_and_lie_inside() -> None:
    statistics = simulate(UNEVEN, studies=3, offset=0.5)
    for metric in METRICS:
        found = score_intervals(statistics, metric=metric, seed=0)
        assert found == error_intervals(statistics, metric=metric)
        assert [one.value for one in found] == pytest.approx(MEASURES[metric].score(statistics.sum(0)))
        assert all(0 < one.low < one.value < one.high for one in found)


def test_small_speakers_who_differ_do_not_decide() -> None:
    """As in BAVED: 40 speakers of 3 clips have large offsets, and three of 300 clips have almost none."""
    clips = np.r_[np.full(3, 300), np.full(40, 3)]
    small, large = simulate(clips, studies=1, offset=1.5), simulate(clips, studies=1, offset=0.1)
    small[:3] = large[:3]
    (mixed,) = error_intervals(small, metric="rmse")
    (alike,) = error_intervals(simulate(clips, studies=1, offset=1.5), metric="rmse")
    assert mixed.high / mixed.value < 0.7 * alike.high / alike.value


def test_a_large_sample_has_the_interval_of_a_normal_mean() -> None:
    """3,000 clips without speakers: the mean square has the variance 2 σ⁴ / n."""
    statistics = simulate(np.ones(3000, int), studies=1, offset=0.0)
    (interval,) = error_intervals(statistics, metric="rmse")
    assert np.log(interval.high / interval.low) == pytest.approx(2 * 1.96 * (2 / 3000) ** 0.5 / 2, rel=0.05)


def test_the_spread_of_losses_by_leaving_out_each_speaker() -> None:
    loss, clips = np.array([[3.0], [1.0], [2.5], [0.5]]), np.array([10, 2, 5, 5])
    without = [np.log((loss.sum() - loss[k]) / (clips.sum() - clips[k])) for k in range(4)]
    assert log_variance(loss, clips) == pytest.approx(3 * np.var(without))


def test_ends_by_hand() -> None:
    # ten equal speakers: t(0.975; 9) = 2.2622, and Φ(-2.2622) = 0.01184, from tables; 2 / 0.2 = 10
    low, high = chi_square_ends(np.array([0.2, 0.0]), np.full(10, 7))
    assert low == pytest.approx([10 / chi2.ppf(1 - 0.01184, 10), 1], rel=1e-3)
    assert high == pytest.approx([10 / chi2.ppf(0.01184, 10), 1], rel=1e-3)
    ends = chi_square_ends(np.array([100.0]), np.array([1000, 1]))
    assert np.isnan(ends).all()


def test_the_normal_variance_is_that_of_the_covariance_matrix() -> None:
    """That of a quadratic form: 2 tr(Σ²) + 4 m'Σm, over the square of tr(Σ) + m'm."""
    clips = np.array([1, 3, 6, 6, 2])
    speaker, rng = np.repeat(np.arange(5), clips), np.random.default_rng(1)
    error = 1.6 + rng.standard_normal(5)[speaker] + 0.5 * rng.standard_normal(18)
    errors, squares = (np.bincount(speaker, values)[:, None] for values in (error, error**2))
    mean, within, between = (float(part[0]) for part in error_parts(errors, squares, clips))
    assert min(mean, within, between) > 0
    S = block_diag(*(within * np.eye(n) + between * np.ones((n, n)) for n in clips))
    m = np.full(18, mean)
    expected = (2 * np.trace(S @ S) + 4 * m @ S @ m) / (np.trace(S) + m @ m) ** 2
    assert normal_variance(errors, squares, clips)[0] == pytest.approx(expected)
    drawn = np.square(rng.multivariate_normal(m, S, 100_000)).sum(1)
    assert expected == pytest.approx(drawn.var() / drawn.mean() ** 2, rel=0.05)


def test_variances_within_and_between_are_found() -> None:
    rng, clips = np.random.default_rng(0), np.r_[np.full(2000, 4), np.full(500, 30), 1]
    speaker = np.repeat(np.arange(len(clips)), clips)
    error = 0.5 + 0.7 * rng.standard_normal(len(clips))[speaker] + 0.4 * rng.standard_normal(len(speaker))
    errors, squares = (np.bincount(speaker, values)[:, None] for values in (error, error**2))
    mean, within, between = error_parts(errors, squares, clips)
    assert (mean[0], within[0], between[0]) == (
        pytest.approx(0.5, abs=0.05), pytest.approx(0.16, rel=0.03), pytest.approx(0.49, rel=0.1),
    )  # fmt: skip


def test_degenerate_studies() -> None:
    perfect = simulate(np.full(4, 5), studies=1, offset=0.0) * 0.0
    perfect[..., 0] = 5
    one = simulate(np.array([30]), studies=1, offset=0.5)
    equal = np.repeat(simulate(np.full(1, 5), studies=1, offset=0.5), 3, axis=0)
    only_one = perfect.copy()
    only_one[0, 0, [2, 6, 7]] = 5.0
    for metric in METRICS:
        (found,) = error_intervals(perfect, metric=metric)
        assert (found.value, found.low, found.high) == (0, 0, 0)
        (found,) = error_intervals(one, metric=metric)
        assert np.isnan([found.low, found.high]).all()
        for statistics in (equal, only_one):
            (found,) = error_intervals(statistics, metric=metric)
            assert 0 < found.low <= found.value <= found.high < np.inf
