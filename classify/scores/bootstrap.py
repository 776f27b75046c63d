"""Cluster bootstrap over speakers: score draws, and intervals that hold with few or uneven speakers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from layerprobe.classify.config import Metric
from layerprobe.classify.tasks.registry import MEASURES

LEVEL = 0.95
RESAMPLES = 10_000
THIN_TAIL = 0.0025  # share of the draws below which a tail is extrapolated
MANY = 500  # clusters above which equal ones are drawn as one kind
BLOCK = 1 << 22  # numbers in memory at once


@dataclass(frozen=True)
class Interval:
    """A score and its 95 % interval; low and high are NaN where it cannot be estimated."""

    value: float
    low: float
    high: float


def draw_scores(counts: np.ndarray, *, metric: Metric, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, R) scores of R systems, each row on clusters drawn with replacement, the same for all.

    counts: (clusters, R, *S) statistics of the metric's task, such as (clusters, R, K, K) confusion counts.
    NaN where a draw has no clip. The draws depend only on the number of clusters and the seed. With MANY
    clusters, those with equal counts are drawn as one kind, so that the cost depends on the number of kinds,
    not of clips.
    """
    clusters, systems, *shape = counts.shape
    kinds, times = counts.reshape(clusters, -1), np.ones(clusters, np.int64)
    if clusters > MANY:
        kinds, times = np.unique(kinds, axis=0, return_counts=True)
    scores = np.empty((resamples, systems))
    for rows, weights in resample_weights(times, resamples=resamples, width=kinds.shape[1], seed=seed):
        scores[rows] = MEASURES[metric].score((weights @ kinds).reshape(-1, systems, *shape))
    return scores


def resample_weights(
    times: np.ndarray, *, resamples: int, width: int, seed: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """How often each kind of cluster is drawn, (rows, kinds) float64, for some resamples at a time.

    times: (kinds,) clusters of each kind. width: numbers that each row will be multiplied with.
    """
    rng, clusters = np.random.default_rng(seed), int(times.sum())
    step = max(1, BLOCK // max(len(times), width))
    for begin in range(0, resamples, step):
        size = min(step, resamples - begin)
        weights = rng.multinomial(clusters, times / clusters, size=size)
        yield slice(begin, begin + size), weights.astype(np.float64)


def mean_intervals(
    values: np.ndarray, *, seed: int, within: tuple[float, float] = (0.0, 1.0)
) -> list[Interval]:
    """The mean of each column over equally weighted clusters, with its 95 % interval.

    values: (clusters, R). within: the range of possible values. low and high are NaN with a single cluster.
    """
    clusters, columns = values.shape
    sizes, draws = np.ones(clusters), np.empty((RESAMPLES, columns))
    for rows, weights in resample_weights(sizes, resamples=RESAMPLES, width=columns, seed=seed):
        draws[rows] = weights @ values / clusters
    return [
        Interval(float(values[:, k].mean()), *expanded_percentile_interval(draws[:, k], sizes, within=within))
        for k in range(columns)
    ]


def effective_sample_size(sizes: np.ndarray) -> float:
    """Kish's effective number of clusters of unequal size (Kish 1965): (Σn)² / Σn²."""
    sizes = np.asarray(sizes, np.float64)
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def expanded_percentile_interval(
    draws: np.ndarray,
    sizes: np.ndarray,
    *,
    level: float = LEVEL,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """The expanded percentile interval (Hesterberg 2015, "What teachers should know about the bootstrap").

    draws: (resamples,). sizes: clips of each cluster. within: the range of possible values. With n clusters,
    plain percentiles are too narrow by sqrt((n - 1) / n), and because they use the normal quantile instead of
    Student's; the interval corrects for both. n is the effective number of clusters, since a few large
    speakers dominate the score. NaN with fewer than two clusters.
    """
    known = draws[~np.isnan(draws)]
    if len(sizes) < 2 or not len(known):
        return float("nan"), float("nan")
    freedom = effective_sample_size(sizes) - 1
    depth = float(np.sqrt((freedom + 1) / freedom) * t.ppf((1 + level) / 2, freedom))
    low, high = _quantile(known, depth), -_quantile(-known, depth)
    return float(np.clip(low, *within)), float(np.clip(high, *within))


def p_value(draws: np.ndarray, sizes: np.ndarray) -> float:
    """The two-sided p of "the score is 0"; below 0.05 where the expanded percentile interval excludes 0.

    Draws that are 0 count half to either side. 1 with fewer than two clusters.
    """
    known = draws[~np.isnan(draws)]
    if len(sizes) < 2 or not len(known):
        return 1.0
    freedom = effective_sample_size(sizes) - 1
    below = float((known < 0).sum() + 0.5 * (known == 0).sum())
    depth = _depth(known if 2 * below <= len(known) else -known, min(below, len(known) - below))
    return float(min(1.0, 2 * t.cdf(-depth / np.sqrt((freedom + 1) / freedom), freedom)))


def _quantile(draws: np.ndarray, depth: float) -> float:
    """The quantile of the draws at `depth` standard normal deviations below the median.

    Beyond the share THIN_TAIL too few draws are left: the tail is extrapolated as that of a normal
    distribution with the same median and the same quantile at THIN_TAIL. Without that, intervals of few
    speakers would be too narrow, and no p could be small enough to pass a correction for many tests.
    """
    if depth <= -norm.ppf(THIN_TAIL):
        return float(np.quantile(draws, norm.cdf(-depth)))
    middle, edge = np.quantile(draws, (0.5, THIN_TAIL))
    spread = float(middle - edge) / -norm.ppf(THIN_TAIL)
    return float(middle) - spread * depth if spread > 0 else float(edge)


def _depth(draws: np.ndarray, below: float) -> float:
    """The inverse of `_quantile`: the depth of 0 in the draws, `below` of which are less than 0."""
    share = (below + 1) / (len(draws) + 2)
    middle, edge = np.quantile(draws, (0.5, THIN_TAIL))
    if share >= THIN_TAIL or middle == edge:
        return float(-norm.ppf(share))
    return float(middle / (middle - edge) * -norm.ppf(THIN_TAIL))
