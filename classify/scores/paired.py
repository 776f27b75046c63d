"""Paired comparisons of systems that answered the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_test
from statsmodels.stats.multitest import multipletests

from layerprobe.classify.config import Metric
from layerprobe.classify.scores.bootstrap import draw_scores, expanded_percentile_interval, p_value
from layerprobe.classify.scores.metrics import SCORES

NOISE = 0.05  # p from which a difference is within noise


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A score minus another's on the same clips, its 95 % interval, and the p of "they are equal"."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Clips that only one of two systems answers right, and the exact p of "as many of either"."""

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True, kw_only=True)
class CorrectedT:
    """The mean difference over folds, its corrected t, and the p of "it is 0"."""

    mean: float
    t: float
    p: float
    folds: int


def differences(
    counts: np.ndarray, pairs: Sequence[tuple[int, int]], *, metric: Metric, seed: int
) -> list[Difference]:
    """The difference of each pair of systems, with the interval of a bootstrap that resamples clusters.

    counts: (clusters, R, K, K) confusion counts of R systems for each speaker, or for each clip where
    speakers are not known. The same speakers are drawn for all systems, so that what makes a draw easy or
    hard cancels. See `bootstrap.interval_of` for the interval.
    """
    draws = draw_scores(counts, metric=metric, seed=seed)
    sizes = counts[:, 0].sum((1, 2))
    whole = SCORES[metric](counts.sum(0))
    found = []
    for a, b in pairs:
        apart = draws[:, a] - draws[:, b]
        low, high = expanded_percentile_interval(apart, sizes, within=(-1, 1))
        found.append(
            Difference(value=float(whole[a] - whole[b]), low=low, high=high, p=p_value(apart, sizes))
        )
    return found


def mcnemar(right_first: np.ndarray, right_second: np.ndarray) -> McNemar:
    """McNemar's exact test (1947): a binomial test on the clips on which exactly one system is right.

    right_first, right_second: (N,) booleans. Compares accuracy, not UAR, and takes clips for independent:
    where speakers hold many clips each, the p is too small.
    """
    first = int((right_first & ~right_second).sum())
    second = int((~right_first & right_second).sum())
    table = [[0, first], [second, 0]]  # the clips that agree do not matter
    return McNemar(only_first=first, only_second=second, p=float(mcnemar_test(table, exact=True).pvalue))


def corrected_t(apart: np.ndarray, *, tested: float, trained: float) -> CorrectedT | None:
    """The corrected resampled t-test (Nadeau & Bengio 2003): mean / sqrt((1/J + tested/trained) s²), J - 1.

    apart: (J,) differences of a score, one per fold. tested, trained: clips of a test and of a training part,
    whose ratio makes up for training parts that overlap. None with fewer than two folds.
    """
    folds = len(apart)
    if folds < 2:
        return None
    mean, variance = float(apart.mean()), float(apart.var(ddof=1))
    if variance <= np.finfo(float).eps * mean**2:  # the same in all folds
        t = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    else:
        t = mean / float(np.sqrt((1 / folds + tested / trained) * variance))
    return CorrectedT(mean=mean, t=t, p=float(2 * student.sf(abs(t), folds - 1)), folds=folds)


def holm(p: Sequence[float]) -> list[float]:
    """p values after Holm's step-down correction (1979) for having been made together."""
    return multipletests(p, method="holm")[1].tolist() if len(p) else []


def near_best(counts: np.ndarray, *, metric: Metric, seed: int) -> tuple[int, list[bool]]:
    """The number of the best of R systems, the first of equals, and which of all are within noise of it.

    counts: (clusters, R, K, K) as for `differences`. Within noise is whose difference from the best has p of
    NOISE or more after Holm's correction over the R - 1 differences.
    """
    best = int(np.argmax(SCORES[metric](counts.sum(0))))
    others = [other for other in range(counts.shape[1]) if other != best]
    apart = differences(counts, [(best, other) for other in others], metric=metric, seed=seed)
    p = dict(zip(others, holm([each.p for each in apart]), strict=True))
    return best, [p.get(system, 1.0) >= NOISE for system in range(counts.shape[1])]
