"""Intervals of statistics of sums over clips, such as R² or a mean code length, over speakers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from layerprobe.classify.scores.bootstrap import (
    RESAMPLES,
    Interval,
    expanded_percentile_interval,
    resample_weights,
)
from layerprobe.classify.scores.jackknife import jackknife_interval, skewed_jackknife_interval


def sum_intervals(
    sums: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    sizes: np.ndarray,
    *,
    within: tuple[float, float] = (-np.inf, np.inf),
    seed: int,
) -> list[Interval]:
    """A statistic of R systems on all clips, each with its 95 % interval.

    sums: (clusters, R, M), sums over the clips of each speaker, or of each clip where speakers are unknown.
    statistic: (…, R, M) sums over clusters → (…, R). sizes: (clusters,) clips. within: the range of the
    statistic. low and high are NaN with a single cluster.
    """
    clusters, systems, moments = sums.shape
    flat = sums.reshape(clusters, -1)
    draws = np.empty((RESAMPLES, systems))
    for rows, weights in resample_weights(
        np.ones(clusters), resamples=RESAMPLES, width=flat.shape[1], seed=seed
    ):
        draws[rows] = statistic((weights @ flat).reshape(-1, systems, moments))
    values = statistic(sums.sum(0)).tolist()
    return [
        Interval(value, *expanded_percentile_interval(draws[:, k], sizes, within=within))
        for k, value in enumerate(values)
    ]


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first of two sums over the second: a mean over clips."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def moments(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N, R, 4) per clip, for `r_squared`: 1, y, y² and (y - predicted)². y: (N,). predicted: (N, R)."""
    own = np.broadcast_to(y[:, None], predicted.shape)
    return np.stack([np.ones_like(predicted), own, own**2, (own - predicted) ** 2], axis=-1)


def r_squared(sums: np.ndarray) -> np.ndarray:
    """R² from sums of `moments`: 1 - squared errors / squared deviations from the mean of these clips.

    Below 0 for predictions that are worse than that mean. NaN where all values are equal.
    """
    count, total, squares, errors = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = squares - total**2 / count
        spread = deviations > 1e-12 * squares
        return np.where(spread, 1 - errors / np.where(spread, deviations, 1.0), np.nan)


def r_squared_intervals(sums: np.ndarray) -> list[Interval]:
    """R² of R systems, each with its 95 % interval.

    sums: (clusters, R, 4), of `moments`. The interval is the jackknife's of log(1 - R²), which is nearly
    normal, with Student's quantile: the bootstrap's is too narrow, since few speakers vary less than all do.
    """

    def log_errors(total: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(1 - r_squared(total)))

    values = r_squared(sums.sum(0))
    total = sums.sum(0)
    low, high = skewed_jackknife_interval(log_errors(total), log_errors(total - sums), sums[:, 0, 0])
    bounds = 1 - np.exp(high), 1 - np.exp(low)
    return [Interval(*map(float, row)) for row in zip(values, *bounds, strict=True)]


def r_squared_differences(sums: np.ndarray, others: np.ndarray) -> list[Interval]:
    """R² minus that of other predictions of the same values, with the jackknife's 95 % interval.

    sums, others: (clusters, R, 4), as for `r_squared_intervals`.
    """

    def difference(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        return r_squared(own) - r_squared(other)

    totals = sums.sum(0), others.sum(0)
    values = difference(*totals)
    low, high = jackknife_interval(values, difference(totals[0] - sums, totals[1] - others), sums[:, 0, 0])
    return [Interval(*map(float, row)) for row in zip(values, low, high, strict=True)]
