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
    groups = len(sizes)
    if groups < 2:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    deviations = without - without.mean(0)
    error = np.sqrt((groups - 1) / groups * np.square(deviations).sum(0))
    reach = t.ppf((1 + level) / 2, effective_sample_size(sizes) - 1) * error
    return value - reach, value + reach
