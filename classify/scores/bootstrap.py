"""Resampling of speakers: scores of many draws, and intervals that hold with few or uneven speakers."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, t

from layerprobe.classify.config import Metric
from layerprobe.classify.scores.metrics import SCORES, Interval

LEVEL = 0.95
RESAMPLES = 10_000
COUNTED = 0.0025  # share of the draws in a tail, below which the tail is continued instead
MANY = 500  # clusters
BLOCK = 1 << 22  # numbers held at a time


def draw_scores(counts: np.ndarray, *, metric: Metric, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, R) scores of R systems, each row on clusters drawn with replacement, the same for all.

    counts: (clusters, R, K, K) confusion counts. NaN where a draw has no clip. The draws follow from the
    number of clusters and the seed alone, unless there are MANY: then clusters with the same counts are drawn
    as one kind, so that a million clips cost no more than the kinds of answers they got.
    """
    clusters, systems, classes, _ = counts.shape
    kinds, times = counts.reshape(clusters, -1), np.ones(clusters, np.int64)
    if clusters > MANY:
        kinds, times = np.unique(kinds, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(kinds.shape))
    scores = np.empty((resamples, systems))
    for begin in range(0, resamples, step):
        size = min(step, resamples - begin)
        weights = rng.multinomial(clusters, times / clusters, size=size).astype(np.float64)
        drawn = (weights @ kinds).reshape(size, systems, classes, classes)
        scores[begin : begin + size] = SCORES[metric](drawn)
    return scores


def score_intervals(counts: np.ndarray, *, metric: Metric, seed: int) -> list[Interval]:
    """Each of R systems' score on all clips, with its 95 % interval.

    counts: (clusters, R, K, K) confusion counts of each speaker, or of each clip where speakers are not
    known. Clips of one speaker rise and fall together, so that resampling clips alone gives intervals that
    are too narrow. With a single cluster there is nothing to resample, and low and high are NaN.
    """
    draws = draw_scores(counts, metric=metric, seed=seed)
    sizes = counts[:, 0].sum((1, 2))
    values = SCORES[metric](counts.sum(0)).tolist()
    return [
        Interval(value, *expanded_percentile_interval(draws[:, k], sizes, within=(0, 1)))
        for k, value in enumerate(values)
    ]


def mean_intervals(values: np.ndarray, *, seed: int) -> list[Interval]:
    """Each column's mean over clusters, of which each weighs the same, with its 95 % interval.

    values: (clusters, R), from 0 to 1. low and high are NaN with a single cluster.
    """
    clusters, columns = values.shape
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // clusters)
    draws = np.empty((RESAMPLES, columns))
    for begin in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - begin)
        draws[begin : begin + size] = (
            rng.multinomial(clusters, np.full(clusters, 1 / clusters), size) @ values
        )
    draws, sizes = draws / clusters, np.ones(clusters)
    return [
        Interval(float(values[:, k].mean()), *expanded_percentile_interval(draws[:, k], sizes, within=(0, 1)))
        for k in range(columns)
    ]


def effective_sample_size(sizes: np.ndarray) -> float:
    """As many equal clusters weigh as much as these (Kish 1965): (Σn)² / Σn²."""
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

    draws: (resamples,). sizes: clips of each cluster. within: the values that there can be. With n clusters,
    plain percentiles are too narrow by sqrt((n - 1) / n) and by the normal quantile for Student's: the tails
    are moved out to make up for both. n is the effective number of clusters, for a few talkative speakers
    decide as few would. NaN with fewer than two clusters.
    """
    known = draws[~np.isnan(draws)]
    if len(sizes) < 2 or not len(known):
        return float("nan"), float("nan")
    freedom = effective_sample_size(sizes) - 1
    depth = float(np.sqrt((freedom + 1) / freedom) * t.ppf((1 + level) / 2, freedom))
    low, high = _quantile(known, depth), -_quantile(-known, depth)
    return float(np.clip(low, *within)), float(np.clip(high, *within))


def p_value(draws: np.ndarray, sizes: np.ndarray) -> float:
    """The two-sided p of "the score is 0", from the same tails: below 0.05 where the interval leaves 0 out.

    Ties count half to either side. 1 with fewer than two clusters.
    """
    known = draws[~np.isnan(draws)]
    if len(sizes) < 2 or not len(known):
        return 1.0
    freedom = effective_sample_size(sizes) - 1
    below = float((known < 0).sum() + 0.5 * (known == 0).sum())
    depth = _depth(known if 2 * below <= len(known) else -known, min(below, len(known) - below))
    return float(min(1.0, 2 * t.cdf(-depth / np.sqrt((freedom + 1) / freedom), freedom)))


def _quantile(draws: np.ndarray, depth: float) -> float:
    """What lies `depth` standard normal deviations down in the draws.

    Beyond the share COUNTED too few draws are left to count: the tail goes on as that of a normal
    distribution with the same middle and the same quantile at COUNTED. Else no value would lie further out
    than the draws, and no p below what their number allows: intervals of few speakers would be too narrow,
    and no difference could hold among many tests.
    """
    if depth <= -norm.ppf(COUNTED):
        return float(np.quantile(draws, norm.cdf(-depth)))
    middle, edge = np.quantile(draws, (0.5, COUNTED))
    spread = float(middle - edge) / -norm.ppf(COUNTED)
    return float(middle) - spread * depth if spread > 0 else float(edge)


def _depth(draws: np.ndarray, below: float) -> float:
    """The inverse: how deep in the lower half of the draws 0 lies; `below`: how many are under it."""
    share = (below + 1) / (len(draws) + 2)
    middle, edge = np.quantile(draws, (0.5, COUNTED))
    if share >= COUNTED or middle == edge:
        return float(-norm.ppf(share))
    return float(middle / (middle - edge) * -norm.ppf(COUNTED))
