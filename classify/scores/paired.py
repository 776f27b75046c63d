"""Paired comparisons of systems on the same clips.

McNemar's test is not among them: it takes clips as independent, and clips of one speaker are not. Where two
systems differ by speaker but not on average, it rejects several times too often (simulated in the tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from layerprobe.classify.config import Metric
from layerprobe.classify.scores.bootstrap import draw_scores, expanded_percentile_interval, p_value
from layerprobe.classify.tasks.registry import MEASURES
from layerprobe.classify.tasks.task import clip_counts

NOISE = 0.05  # a difference with a p of this or more is within noise


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A score minus another's on the same clips, its 95 % interval, and the p of "they are equal"."""

    value: float
    low: float
    high: float
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
    """The score difference of each pair of systems, with its interval from a paired cluster bootstrap.

    counts: (clusters, R, *S) statistics of R systems per speaker, or per clip where speakers are unknown,
    such as confusion counts. Each draw takes the same speakers for all systems, so that their difficulty
    cancels out. See `bootstrap.expanded_percentile_interval` for the interval.
    """
    draws = draw_scores(counts, metric=metric, seed=seed)
    sizes, measure = clip_counts(counts[:, 0]), MEASURES[metric]
    scores, largest = measure.score(counts.sum(0)), measure.high - measure.low
    results = []
    for a, b in pairs:
        difference = draws[:, a] - draws[:, b]
        low, high = expanded_percentile_interval(difference, sizes, within=(-largest, largest))
        results.append(
            Difference(value=float(scores[a] - scores[b]), low=low, high=high, p=p_value(difference, sizes))
        )
    return results


def corrected_t(differences: np.ndarray, *, tested: float, trained: float) -> CorrectedT | None:
    """The corrected resampled t-test (Nadeau & Bengio 2003); None with fewer than two folds.

    t = mean / sqrt((1/J + tested/trained) s²), with J - 1 degrees of freedom. differences: (J,) of a score,
    one per fold. tested, trained: clips in a test and in a training partition; their ratio corrects for
    overlapping training partitions.
    """
    folds = len(differences)
    if folds < 2:
        return None
    mean, variance = float(differences.mean()), float(differences.var(ddof=1))
    if variance <= np.finfo(float).eps * mean**2:  # equal in all folds
        t = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    else:
        t = mean / float(np.sqrt((1 / folds + tested / trained) * variance))
    return CorrectedT(mean=mean, t=t, p=float(2 * student.sf(abs(t), folds - 1)), folds=folds)


def holm(p: Sequence[float]) -> list[float]:
    """p values after Holm's step-down correction for multiple tests (Holm 1979)."""
    order = np.argsort(p)
    steps = np.asarray(p, np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()


def near_best(counts: np.ndarray, *, metric: Metric, seed: int) -> tuple[int, list[bool]]:
    """The index of the best of R systems (the first of equals), and which systems are within noise of it.

    counts: (clusters, R, *S) as for `differences`. A system is within noise if its difference from the best
    has a p of NOISE or more after Holm's correction over the R - 1 differences.
    """
    measure = MEASURES[metric]
    best = int(np.argmax(measure.better(measure.score(counts.sum(0)))))
    others = [other for other in range(counts.shape[1]) if other != best]
    tests = differences(counts, [(best, other) for other in others], metric=metric, seed=seed)
    p = dict(zip(others, holm([test.p for test in tests]), strict=True))
    return best, [p.get(system, 1.0) >= NOISE for system in range(counts.shape[1])]
