"""Scores of systems on the outer test clips of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np

from layerprobe.classify.config import Metric
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.scores import metrics
from layerprobe.classify.scores.bootstrap import mean_intervals, score_intervals
from layerprobe.classify.scores.paired import near_best
from layerprobe.classify.scores.results import StudyResult

System = Sequence[StudyResult]  # one result per outer fold, in order


class Scorer:
    """Scores systems on the outer test partitions of a study, all folds together and each alone."""

    def __init__(self, data: Dataset, folds: Sequence[OuterFold], *, seed: int) -> None:
        self._data, self._folds, self._seed = data, folds, seed
        self._classes = len(data.classes)
        rows = np.concatenate([fold.outer.test for fold in folds])
        self._y = data.y[rows]
        self._clusters = rows if data.speakers is None else data.speakers[rows]

    @property
    def tested(self) -> int:
        """How many classes the test clips have; the UAR is the mean over these."""
        return len(np.unique(self._y))

    def pooled(self, systems: Sequence[System]) -> list[dict[str, Any]]:
        """For each system every metric over all outer test clips together, with an interval over speakers."""
        counts = self._stacked(systems)
        entries: list[dict[str, Any]] = [{} for _ in systems]
        for name in get_args(Metric):
            intervals = score_intervals(counts, metric=name, seed=self._seed)
            for entry, interval in zip(entries, intervals, strict=True):
                entry[name] = asdict(interval)
        return entries

    def counts(self, predicted: Sequence[np.ndarray]) -> np.ndarray:
        """(clusters, K, K) confusion counts per speaker, or per clip where speakers are unknown.

        predicted: for each fold the classes of its test rows.
        """
        pooled = np.concatenate(predicted)
        return metrics.cluster_counts(self._y, pooled, self._clusters, classes=self._classes)

    def near_best(self, systems: Sequence[System], *, metric: Metric) -> list[bool]:
        """Which systems are within noise of the best; see `paired.near_best`."""
        return near_best(self._stacked(systems), metric=metric, seed=self._seed)[1]

    def on_fold(self, result: StudyResult) -> dict[str, float]:
        """Every metric on one outer fold."""
        return _scores(metrics.confusion(self._truth(result), result.predicted, classes=self._classes))

    def details(self, system: System) -> dict[str, Any]:
        """Scores by fold, speaker and class, and of the probabilities.

        over_folds: mean and standard deviation of the folds' scores. over_speakers: the unweighted mean of
        the speakers' scores, with its interval; None without speakers. The rest is over all test clips
        together.
        """
        counts = self.counts([result.predicted for result in system])
        probability = np.concatenate([result.probability for result in system])
        by_fold = [
            {**self.on_fold(result), **_probability_scores(self._truth(result), result.probability)}
            for result in system
        ]
        return {
            "over_folds": {name: _mean_and_sd([scores[name] for scores in by_fold]) for name in by_fold[0]},
            "over_speakers": None if self._data.speakers is None else self._over_speakers(counts),
            **_probability_scores(self._y, probability),
            **self._by_class(counts.sum(0)),
        }

    def majority(self) -> dict[str, Any]:
        """The scores of predicting each fold's most frequent training class."""
        predicted = [
            np.full(len(fold.outer.test), np.bincount(self._data.y[fold.outer.train]).argmax())
            for fold in self._folds
        ]
        scores = _scores(metrics.confusion(self._y, np.concatenate(predicted), classes=self._classes))
        return {name: {"value": value} for name, value in scores.items()}

    def _truth(self, result: StudyResult) -> np.ndarray:
        return self._data.y[self._folds[result.id.fold].outer.test]

    def _stacked(self, systems: Sequence[System]) -> np.ndarray:
        """(clusters, R, K, K) confusion counts."""
        return np.stack([self.counts([result.predicted for result in system]) for system in systems], axis=1)

    def _over_speakers(self, counts: np.ndarray) -> dict[str, Any]:
        each = np.stack([score(counts) for score in metrics.SCORES.values()], axis=1)
        intervals = mean_intervals(each, seed=self._seed)
        return {name: asdict(interval) for name, interval in zip(metrics.SCORES, intervals, strict=True)}

    def _by_class(self, counts: np.ndarray) -> dict[str, Any]:
        recall, precision = metrics.recall(counts), metrics.precision(counts)
        return {
            "classes": [
                {"class": name, "clips": counts[k].sum(), "recall": recall[k], "precision": precision[k]}
                for k, name in enumerate(self._data.classes)
            ],
            "confusion": {"counts": counts, "rates": counts / np.maximum(counts.sum(1, keepdims=True), 1)},
        }


def _scores(counts: np.ndarray) -> dict[str, float]:
    return {name: float(score(counts)) for name, score in metrics.SCORES.items()}


def _probability_scores(y: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    return {
        "log_loss": metrics.log_loss(y, probability),
        "calibration_error": metrics.calibration_error(y, probability),
    }


def _mean_and_sd(values: Sequence[float]) -> dict[str, float]:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "sd": sd}
