"""Scores of what a study predicted, against the labels of the outer test clips."""

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

System = Sequence[StudyResult]  # one for each outer fold, in order: a system


class Scorer:
    """Scores systems on the outer test parts of a study."""

    def __init__(self, data: Dataset, folds: Sequence[OuterFold], *, seed: int) -> None:
        self._data, self._folds, self._seed = data, folds, seed
        self._classes = len(data.classes)
        rows = np.concatenate([fold.outer.test for fold in folds])
        self._y = data.y[rows]
        self._clusters = rows if data.speakers is None else data.speakers[rows]

    @property
    def tested(self) -> int:
        """Classes of the test clips: the UAR is over these."""
        return len(np.unique(self._y))

    def pooled(self, systems: Sequence[System]) -> list[dict[str, Any]]:
        """For each system each metric over all outer test clips together, with an interval over speakers."""
        counts = np.stack(
            [self.counts([outcome.predicted for outcome in chosen]) for chosen in systems], axis=1
        )
        told: list[dict[str, Any]] = [{} for _ in systems]
        for name in get_args(Metric):
            found = score_intervals(counts, metric=name, seed=self._seed)
            for entry, interval in zip(told, found, strict=True):
                entry[name] = asdict(interval)
        return told

    def counts(self, predicted: Sequence[np.ndarray]) -> np.ndarray:
        """(clusters, K, K) confusion counts of each speaker, or of each clip where speakers are not known.

        predicted: for each fold the classes of its test rows.
        """
        whole = np.concatenate(predicted)
        return metrics.cluster_counts(self._y, whole, self._clusters, classes=self._classes)

    def near_best(self, systems: Sequence[System], *, metric: Metric) -> list[bool]:
        """Which systems are within noise of the best; see `paired.near_best`."""
        counts = np.stack(
            [self.counts([outcome.predicted for outcome in chosen]) for chosen in systems], axis=1
        )
        return near_best(counts, metric=metric, seed=self._seed)[1]

    def on_fold(self, outcome: StudyResult) -> dict[str, float]:
        """Each metric on one outer fold."""
        y = self._data.y[self._folds[outcome.id.fold].outer.test]
        return _scores(metrics.confusion(y, outcome.predicted, classes=self._classes))

    def details(self, chosen: System) -> dict[str, Any]:
        """What stands behind a system's three headline scores.

        over_folds: mean and standard deviation of the folds' scores. over_speakers: the mean of the speakers'
        scores, a talkative one's weighing no more than the others', with its interval; None without speakers.
        The rest is of all test clips together.
        """
        counts = self.counts([outcome.predicted for outcome in chosen])
        probability = np.concatenate([outcome.probability for outcome in chosen])
        by_fold = [{**self.on_fold(outcome), **self._probable(outcome)} for outcome in chosen]
        return {
            "over_folds": {name: _mean_and_sd([scores[name] for scores in by_fold]) for name in by_fold[0]},
            "over_speakers": None if self._data.speakers is None else self._over_speakers(counts),
            **_of_probabilities(self._y, probability),
            **self._by_class(counts.sum(0)),
        }

    def majority(self) -> dict[str, Any]:
        """What always saying a fold's most frequent training class would score."""
        predicted = [
            np.full(len(fold.outer.test), np.bincount(self._data.y[fold.outer.train]).argmax())
            for fold in self._folds
        ]
        scores = _scores(metrics.confusion(self._y, np.concatenate(predicted), classes=self._classes))
        return {name: {"value": value} for name, value in scores.items()}

    def _probable(self, outcome: StudyResult) -> dict[str, float]:
        y = self._data.y[self._folds[outcome.id.fold].outer.test]
        return _of_probabilities(y, outcome.probability)

    def _over_speakers(self, counts: np.ndarray) -> dict[str, Any]:
        each = np.stack([score(counts) for score in metrics.SCORES.values()], axis=1)
        found = mean_intervals(each, seed=self._seed)
        return {name: asdict(interval) for name, interval in zip(metrics.SCORES, found, strict=True)}

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


def _of_probabilities(y: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    return {
        "log_loss": metrics.log_loss(y, probability),
        "calibration_error": metrics.calibration_error(y, probability),
    }


def _mean_and_sd(values: Sequence[float]) -> dict[str, float]:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "sd": sd}
