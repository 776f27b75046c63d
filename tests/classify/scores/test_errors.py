"""Intervals of RMSE and MAE: matrices and simulations as witnesses, and how often they cover the truth."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.stats import chi2, norm, t

from layerprobe.classify.scores.errors import (
    chi_square_ends,
    error_intervals,
    error_parts,
    log_variance,
    quadratic_form_ends,
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
    assert 0.905 <= coverage(statistics, "rmse", variance**0.5) <= 0.98
    assert 0.905 <= coverage(statistics, "mae", (2 / np.pi * variance) ** 0.5) <= 0.98


def test_speakers_whose_errors_spread_differently_are_covered_too() -> None:
    """Where errors are not normal, what speakers' losses show decides."""
    statistics = simulate(np.full(30, 20), studies=500, offset=0.3, own_spread=0.5)
    assert 0.905 <= coverage(statistics, "rmse", (0.09 + 0.3 * np.exp(2 * 0.25)) ** 0.5) <= 0.98


def test_the_values_are_those_of_the_measures_and_lie_inside() -> None:
    statistics = simulate(UNEVEN, studies=3, offset=0.5)
    for metric in METRICS:
        found = score_intervals(statistics, metric=metric, seed=0)
        assert found == error_intervals(statistics, metric=metric)
        assert [one.value for one in found] == pytest.approx(MEASURES[metric].score(statistics.sum(0)))
        assert all(0 < one.low < one.value < one.high for one in found)


def test_a_large_sample_has_the_interval_of_a_normal_mean() -> None:
    """3,000 clips without speakers: the mean square has the variance 2 σ⁴ / n."""
    statistics = simulate(np.ones(3000, int), studies=1, offset=0.0)
    (interval,) = error_intervals(statistics, metric="rmse")
    assert np.log(interval.high / interval.low) == pytest.approx(2 * 1.96 * (2 / 3000) ** 0.5 / 2, rel=0.05)


def test_the_spread_of_losses_by_leaving_out_each_speaker() -> None:
    loss, clips = np.array([[3.0], [1.0], [2.5], [0.5]]), np.array([10, 2, 5, 5])
    without = [np.log((loss.sum() - loss[k]) / (clips.sum() - clips[k])) for k in range(4)]
    assert log_variance(loss, clips) == pytest.approx(3 * np.var(without))
    assert chi_square_ends(np.array([0.2]), tail=0.025) == (
        pytest.approx(10 / chi2.ppf(0.975, 10)),
        pytest.approx(10 / chi2.ppf(0.025, 10)),
    )


def test_the_cumulants_are_those_of_the_covariance_matrix() -> None:
    clips, mean, within, between = np.tile([1, 3, 6], 4), 0.4, 0.5, 0.8
    matrix = block_diag(*(within * np.eye(n) + between * np.ones((n, n)) for n in clips))
    m = np.full(40, mean)
    powers = [np.linalg.matrix_power(matrix, r) for r in range(4)]
    k1, k2, k3 = (
        2 ** (r - 1) * (1, 1, 2)[r - 1] * (np.trace(powers[r]) + r * m @ powers[r - 1] @ m) for r in (1, 2, 3)
    )
    nu = 8 * k2**3 / k3**2
    quantile = [k1 + k2**0.5 * (chi2.ppf(p, nu) - nu) / (2 * nu) ** 0.5 for p in (0.975, 0.025)]
    found = quadratic_form_ends(np.array([mean]), np.array([within]), np.array([between]), clips, tail=0.025)
    assert [end[0] for end in found] == pytest.approx([k1 / quantile[0], k1 / quantile[1]])
    rng = np.random.default_rng(0)
    drawn = np.square(rng.multivariate_normal(m, matrix, 20_000)).sum(1)
    assert quantile == pytest.approx(np.quantile(drawn, (0.975, 0.025)), rel=0.06)


def test_variances_within_and_between_are_found() -> None:
    rng, clips = np.random.default_rng(0), np.r_[np.full(2000, 4), np.full(500, 30), 1]
    speaker = np.repeat(np.arange(len(clips)), clips)
    error = 0.5 + 0.7 * rng.standard_normal(len(clips))[speaker] + 0.4 * rng.standard_normal(len(speaker))
    errors, squares = (np.bincount(speaker, values)[:, None] for values in (error, error**2))
    mean, within, between = error_parts(errors, squares, clips)
    assert (mean[0], within[0], between[0]) == (
        pytest.approx(0.5, abs=0.05), pytest.approx(0.16, rel=0.03), pytest.approx(0.49, rel=0.1),
    )  # fmt: skip


def test_few_degrees_of_freedom_widen_as_students_t() -> None:
    """Without any offset between two equal speakers, the tail is that of Student's t with one."""
    statistics = simulate(np.full(2, 400), studies=1, offset=0.0)
    (interval,) = error_intervals(statistics, metric="rmse")
    tail = norm.cdf(-t.ppf(0.975, 1))
    assert interval.high / interval.value >= (800 / chi2.ppf(max(tail, 1e-12), 800)) ** 0.5 * 0.95


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
