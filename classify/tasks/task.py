"""The interface of a task: labels, predictions from a head's scores, and measures of how good they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.classify.config import Metric, TaskName


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Options of a study that say how labels are read.

    levels: of an order, the lowest first; () by size. separator: between the labels of a set.
    """

    levels: tuple[str, ...] = ()
    separator: str = ";"


READ_AS_IS = Reading()


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of N clips.

    classes: K names, none for numbers. y: (N,) indices into them, or numbers; (N, K) bool for sets, or shares
    of votes.
    """

    classes: tuple[str, ...]
    y: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A score of predictions.

    score: statistics (…, *S) → (…), NaN where it is undefined. low, high: the range of its values.
    """

    score: Callable[[np.ndarray], np.ndarray]
    low: float = 0.0
    high: float = 1.0
    larger_is_better: bool = True

    def better(self, values: np.ndarray) -> np.ndarray:
        """The values, or their negatives where smaller ones are better."""
        return values if self.larger_is_better else -values


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a study predicts.

    read: (ids, texts, column) of N labelled clips, and how they are read → their labels; raises an InputError
        that names all faults.
    members: (y, K) → (N, K) bool, the classes of each clip; folds must train and test all of them.
    strata: y → (N,) numbers from 0, which folds are balanced by, or (N, K) bool.
    decide: (m, C) scores of a head → predictions, as y.
    temperature, probabilities: calibration of scores, see `calibration`; for numbers 1 and (m, 0).
    statistics: (y, predictions, clusters, K) → (clusters, *S) of each cluster, or (*S,) of all clips together
        if clusters is None. They add up over clips, except ranks, which are those among the given clips.
    measures: by metric, the first being what a search maximises unless told otherwise.
    chance: (m, K) classes of the tested clips → the first measure of predictions without features: of labels
        that are drawn at random, each as often as it occurs.
    """

    name: TaskName
    read: Callable[[Sequence[str], Sequence[str], str, Reading], Labels]
    members: Callable[[np.ndarray, int], np.ndarray]
    strata: Callable[[np.ndarray], np.ndarray]
    decide: Callable[[np.ndarray], np.ndarray]
    temperature: Callable[[np.ndarray, np.ndarray], float]
    probabilities: Callable[[np.ndarray, float], np.ndarray]
    statistics: Callable[[np.ndarray, np.ndarray, np.ndarray | None, int], np.ndarray]
    measures: Mapping[Metric, Measure]
    chance: Callable[[np.ndarray], float]

    @property
    def main(self) -> Metric:
        """The first measure."""
        return next(iter(self.measures))

    def score(self, y: np.ndarray, predicted: np.ndarray, *, classes: int, metric: Metric) -> float:
        """The score of predictions for (N,) labels; 0 where it is undefined."""
        value = float(self.measures[metric].score(self.statistics(y, predicted, None, classes)))
        return value if value == value else 0.0

    def scores(self, statistics: np.ndarray) -> dict[str, float]:
        """Every measure of statistics (*S,)."""
        return {name: float(measure.score(statistics)) for name, measure in self.measures.items()}


def sums_by_cluster(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """(clusters, …) sums of the rows (N, …) of each cluster, or (…) of all rows if clusters is None.

    clusters: (N,) numbers of any kind.
    """
    if clusters is None:
        return np.asarray(values.sum(0))
    _, codes = np.unique(clusters, return_inverse=True)
    sums = np.zeros((int(codes.max()) + 1, *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below in float64; NaN where `below` is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def mean_known(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of the values that are not NaN; NaN without any."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1))


def clip_counts(statistics: np.ndarray) -> np.ndarray:
    """(clusters,) clips of each cluster: of (clusters, K, K) confusion counts, or (clusters, S) sums.

    The first of the sums is the number of clips.
    """
    return statistics.sum((1, 2)) if statistics.ndim == 3 else statistics[:, 0]
