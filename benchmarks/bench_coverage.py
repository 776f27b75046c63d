"""How often 95 % intervals over speakers cover a known truth, for every score of every task.

    python benchmarks/bench_coverage.py [--studies 2000] [--resamples 4000] [--speakers 10,30,60,uneven]
        [--simulations regression,own_spread]

Simulates studies whose speakers differ: each has a level of the target and an ability of the system of her
own. The truth is the score of 200,000 such speakers. `uneven` are 60 speakers with clips much as BAVED's:
a few have most of them. In `own_spread`, the size of errors differs between speakers, too. Prints one JSON
line per kind of speakers, with the coverage of each score and of the difference of two systems on the same
clips (`…_difference`, whose truth is 0).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.machine import report
from layerprobe.classify.config import METRICS, Metric, TaskName
from layerprobe.classify.scores.bootstrap import draw_scores, expanded_percentile_interval
from layerprobe.classify.scores.errors import error_intervals
from layerprobe.classify.scores.sums import moments, r_squared_intervals
from layerprobe.classify.tasks.registry import MEASURES, TASKS
from layerprobe.classify.tasks.task import sums_by_cluster

CLASSES = 4
CLIPS = 20  # of each speaker, where all have as many
UNEVEN = np.array([350, 340, 300] + [60] * 5 + [20] * 20 + [15] * 16 + [4] * 16)
MANY = 200_000  # speakers of the population

# (rng, speaker of each clip) → truth, predictions of one system, predictions of another
Simulation = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def each(rng: np.random.Generator, speaker: np.ndarray, spread: float) -> np.ndarray:
    """(N,) a normal number of each clip's speaker."""
    return spread * rng.standard_normal(int(speaker.max()) + 1)[speaker]


def classification(
    rng: np.random.Generator, speaker: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes of unequal size; the margin of the right one differs between speakers."""
    y = rng.choice(CLASSES, len(speaker), p=(0.4, 0.3, 0.2, 0.1))
    right = np.arange(CLASSES) == y[:, None]
    margin = 1.2 + each(rng, speaker, 0.5)
    a, b = ((right * margin[:, None] + rng.standard_normal((len(y), CLASSES))).argmax(1) for _ in range(2))
    return y, a, b


def ordinal(rng: np.random.Generator, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four levels of a normal number; predictions are off by an amount of each speaker's own."""
    y, a, b = regression(rng, speaker)
    bounds = (-0.8, 0.0, 0.8)
    return np.digitize(y, bounds), np.digitize(a, bounds), np.digitize(b, bounds)


def regression(rng: np.random.Generator, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of which 0.4 of the variance is between speakers; predictions shrink, and are off."""
    y = each(rng, speaker, 0.4**0.5) + 0.6**0.5 * rng.standard_normal(len(speaker))
    a, b = (0.7 * y + each(rng, speaker, 0.4) + 0.5 * rng.standard_normal(len(speaker)) for _ in range(2))
    return y, a, b


def own_spread(rng: np.random.Generator, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `regression`, but errors of a speaker are larger or smaller than those of others."""
    y = each(rng, speaker, 0.4**0.5) + 0.6**0.5 * rng.standard_normal(len(speaker))
    scale = 0.5 * np.exp(each(rng, speaker, 0.4))
    a, b = (0.7 * y + each(rng, speaker, 0.4) + scale * rng.standard_normal(len(speaker)) for _ in range(2))
    return y, a, b


def multilabel(rng: np.random.Generator, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sets of labels, some rare; the margin differs between speakers."""
    shape = len(speaker), CLASSES
    y = rng.random(shape) < (0.5, 0.4, 0.3, 0.2)
    margin = 1.0 + each(rng, speaker, 0.4)[:, None]
    a, b = ((np.where(y, margin, -margin) + rng.standard_normal(shape)) > 0 for _ in range(2))
    return y, a, b


SIMULATIONS: Mapping[str, tuple[TaskName, Simulation]] = {
    "classification": ("classification", classification),
    "ordinal": ("ordinal", ordinal),
    "regression": ("regression", regression),
    "own_spread": ("regression", own_spread),
    "multilabel": ("multilabel", multilabel),
}


def main() -> None:
    """Simulate every task with every kind of speakers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--speakers", default="10,30,60,uneven")
    parser.add_argument("--simulations", default=",".join(SIMULATIONS))
    options = parser.parse_args()
    chosen = options.simulations.split(",")
    truth = population(chosen)
    for kind in options.speakers.split(","):
        sizes = UNEVEN if kind == "uneven" else np.full(int(kind), CLIPS)
        shares: dict[str, float] = {}
        for name in chosen:
            shares |= coverage(name, sizes, truth=truth, studies=options.studies, resamples=options.resamples)
        if "regression" in chosen:
            shares["r_squared"] = r_squared_coverage(sizes, truth=truth["r_squared"], studies=options.studies)
        values = {"speakers": kind, "studies": options.studies, **shares}
        report("coverage", values, device=torch.device("cpu"))


def population(names: Sequence[str]) -> dict[str, float]:
    """The score of every metric of these simulations over MANY speakers."""
    speaker = np.repeat(np.arange(MANY), CLIPS)
    scores: dict[str, float] = {}
    for name in names:
        task, simulate = SIMULATIONS[name]
        y, predicted, _ = simulate(np.random.default_rng(1), speaker)
        statistics = TASKS[task].statistics(y, predicted, None, CLASSES)
        scores |= {f"{name}: {metric}": value for metric, value in TASKS[task].scores(statistics).items()}
        if name == "regression":
            scores["r_squared"] = float(1 - np.mean((predicted - y) ** 2) / np.var(y))
    return scores


def coverage(
    name: str, sizes: np.ndarray, *, truth: Mapping[str, float], studies: int, resamples: int
) -> dict[str, float]:
    """The share of studies whose intervals cover the truth, of each metric and of its difference."""
    rng, speaker = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    task, simulate = SIMULATIONS[name]
    systems = []
    for _ in range(studies):
        y, *both = simulate(rng, speaker)
        systems += [TASKS[task].statistics(y, predicted, speaker, CLASSES) for predicted in both]
    statistics = np.stack(systems, axis=1)
    return {
        f"{name}: {key}": share
        for metric in METRICS[task]
        for key, share in one_metric(
            metric, statistics, sizes, truth=truth[f"{name}: {metric}"], resamples=resamples
        ).items()
    }


def one_metric(
    metric: Metric,
    statistics: np.ndarray,
    sizes: np.ndarray,
    *,
    truth: float,
    resamples: int,
) -> dict[str, float]:
    """Coverage of one metric. statistics: (speakers, 2 × studies, *S), two systems of each study.

    As `scores.intervals.score_intervals` and `scores.paired.differences`, with fewer draws.
    """
    draws = draw_scores(statistics, metric=metric, seed=1, resamples=resamples)
    within = MEASURES[metric].low, MEASURES[metric].high
    one = [expanded_percentile_interval(column, sizes, within=within) for column in draws[:, ::2].T]
    if metric == "rmse" or metric == "mae":
        one = [(each.low, each.high) for each in error_intervals(statistics[:, ::2], metric=metric)]
    two = [expanded_percentile_interval(column, sizes) for column in (draws[:, ::2] - draws[:, 1::2]).T]
    return {metric: covered(one, truth), f"{metric}_difference": covered(two, 0.0)}


def r_squared_coverage(sizes: np.ndarray, *, truth: float, studies: int) -> float:
    """Coverage of the R² of probes for the sound."""
    rng, speaker = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    bounds = []
    for _ in range(studies):
        y, predicted, _ = regression(rng, speaker)
        (interval,) = r_squared_intervals(sums_by_cluster(moments(y, predicted[:, None]), speaker))
        bounds.append((interval.low, interval.high))
    return covered(bounds, truth)


def covered(bounds: list[tuple[float, float]], truth: float) -> float:
    """The share of intervals that hold the truth."""
    return float(np.mean([low <= truth <= high for low, high in bounds]))


if __name__ == "__main__":
    main()
