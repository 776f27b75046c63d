"""Simulated numbers of known difficulty: how often intervals over speakers cover the true score."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.classify.config import Metric
from layerprobe.classify.scores.bootstrap import draw_scores, expanded_percentile_interval
from layerprobe.classify.scores.errors import error_intervals
from layerprobe.classify.tasks.moments import sums
from layerprobe.classify.tasks.registry import MEASURES

SPEAKERS, CLIPS = 30, 12


def simulate(rng: np.random.Generator, *, speakers: int) -> np.ndarray:
    """(speakers, 13) sums of a system that is off by an amount of each speaker's own, and shrinks.

    Truth: 0.6 of the variance between clips, 0.4 between speakers.
    """
    level = np.sqrt(0.4) * rng.standard_normal((speakers, 1))
    bias = 0.4 * rng.standard_normal((speakers, 1))
    y = level + np.sqrt(0.6) * rng.standard_normal((speakers, CLIPS))
    predicted = 0.7 * y + bias + 0.5 * rng.standard_normal(y.shape)
    return sums(y.ravel(), predicted.ravel(), np.repeat(np.arange(speakers), CLIPS))


# Of the population: variances 1 and 0.49 + 0.16 + 0.25, covariance 0.7, no difference of means.
TRUE: dict[Metric, float] = {
    "ccc": 2 * 0.7 / (1 + 0.9),
    "pearson": 0.7 / np.sqrt(0.9),
    "spearman": 6 / np.pi * np.arcsin(0.7 / np.sqrt(0.9) / 2),  # of a bivariate normal distribution
    "rmse": np.sqrt(0.09 + 0.16 + 0.25),
    "mae": np.sqrt(2 / np.pi * 0.5),
}


def coverage(metric: Metric, *, replicates: int, resamples: int) -> float:
    """The share of simulated studies whose 95 % interval covers the truth."""
    rng, measure = np.random.default_rng(0), MEASURES[metric]
    studies = np.stack([simulate(rng, speakers=SPEAKERS) for _ in range(replicates)], axis=1)
    if metric == "rmse" or metric == "mae":
        own = error_intervals(studies, metric=metric)
        return float(np.mean([one.low <= TRUE[metric] <= one.high for one in own]))
    draws = draw_scores(studies, metric=metric, seed=1, resamples=resamples)
    within = measure.low, measure.high
    sizes = np.full(SPEAKERS, CLIPS)
    bounds = [expanded_percentile_interval(draws[:, k], sizes, within=within) for k in range(replicates)]
    return float(np.mean([low <= TRUE[metric] <= high for low, high in bounds]))


@pytest.mark.parametrize("metric", ["ccc", "spearman"])
def test_most_intervals_cover_the_truth(metric: Metric) -> None:
    assert 0.91 <= coverage(metric, replicates=300, resamples=1000) <= 0.985


@pytest.mark.soak
@pytest.mark.parametrize("metric", TRUE)
def test_93_to_97_of_100_intervals_cover_the_truth(metric: Metric) -> None:
    assert 0.93 <= coverage(metric, replicates=3000, resamples=4000) <= 0.97


def test_the_truth_is_that_of_a_large_sample() -> None:
    large = simulate(np.random.default_rng(2), speakers=40_000).sum(0)
    for metric, value in TRUE.items():
        assert float(MEASURES[metric].score(large)) == pytest.approx(value, abs=0.01)
