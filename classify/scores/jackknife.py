"""Intervals over speakers from values that were computed without each group of speakers."""

from __future__ import annotations

import numpy as np
from scipy.stats import t

from layerprobe.classify.scores.bootstrap import LEVEL, effective_sample_size


def group_clusters(clusters: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """(N,) group of each clip, from 0 on: its cluster, or where there are more than `most`, several together.

    Clusters are dealt to groups in random order, so that all groups have about as many of them.
    """
    _, numbers = np.unique(clusters, return_inverse=True)
    count = int(numbers.max()) + 1
    if count <= most:
        return numbers
    groups = np.random.default_rng(seed).permutation(count) % most
    return np.asarray(groups[numbers])


def jackknife_interval(
    value: np.ndarray, without: np.ndarray, sizes: np.ndarray, *, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (…) of the delete-one-group jackknife interval (Tukey 1958; Efron & Stein 1981).

    value: (…), of all clips. without: (G, …), of all clips but those of a group. sizes: (G,) clips of each
    group. Student's quantile has the effective number of groups minus 1 degrees of freedom. NaN with fewer
    than two groups.

    A bootstrap would draw speakers twice; the pairs of a clip with clips of its own speaker, which are more
    similar than others, would then have a larger share than in the data, and every similarity would rise.
    """
    if len(sizes) < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    reach = t.ppf((1 + level) / 2, effective_sample_size(sizes) - 1) * _standard_error(without)
    return value - reach, value + reach


def skewed_jackknife_interval(
    value: np.ndarray, without: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `jackknife_interval`, for ratios of sums of squares, which a few groups may decide.

    The middle is the jackknife's estimate without bias (Quenouille 1956). The degrees of freedom are those of
    a variance of values with the groups' fourth moment: fewer than for normal ones, whose kurtosis is 3.
    """
    groups = len(sizes)
    if groups < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    squares = np.square(without - without.mean(0))
    fourth, second = np.square(squares).mean(0), squares.mean(0)
    with np.errstate(invalid="ignore"):
        kurtosis = np.where(second > 0, fourth / second**2, 3.0)
    freedom = np.maximum(effective_sample_size(sizes) * np.minimum(3 / kurtosis, 1) - 1, 1)
    middle = groups * value - (groups - 1) * without.mean(0)
    reach = t.ppf((1 + LEVEL) / 2, freedom) * _standard_error(without)
    return middle - reach, middle + reach


def _standard_error(without: np.ndarray) -> np.ndarray:
    """(…) of a statistic whose values without each group are (G, …)."""
    groups = len(without)
    return np.asarray(np.sqrt((groups - 1) / groups * np.square(without - without.mean(0)).sum(0)))
