"""Scores of systems on the outer test clips of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from layerprobe.classify.config import Metric
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.scores.bootstrap import mean_intervals
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.scores.paired import near_best
from layerprobe.classify.scores.results import StudyResult
from layerprobe.classify.tasks import confusion, label_sets

System = Sequence[StudyResult]  # one result per outer fold, in order


class Scorer:
    """Scores systems on the outer test partitions of a study, all folds together and each alone."""

    def __init__(self, data: Dataset, folds: Sequence[OuterFold], *, seed: int) -> None:
        self._data, self._folds, self._seed = data, folds, seed
        self._task, self._classes = data.rules, len(data.classes)
        self._rows = np.concatenate([fold.outer.test for fold in folds])
        self._y = data.y[self._rows]
        self._clusters = self._rows if data.speakers is None else data.speakers[self._rows]

    @property
    def chance(self) -> float:
        """The first score of predictions without features; the UAR is a mean over the tested classes."""
        return self._task.chance(self._data.members[self._rows])

    def pooled(self, systems: Sequence[System]) -> list[dict[str, Any]]:
        """For each system every metric over all outer test clips together, with an interval over speakers."""
        counts = self._stacked(systems)
        entries: list[dict[str, Any]] = [{} for _ in systems]
        for name in self._task.measures:
            intervals = score_intervals(counts, metric=name, seed=self._seed)
            for entry, interval in zip(entries, intervals, strict=True):
                entry[name] = asdict(interval)
        return entries

    def counts(self, predicted: Sequence[np.ndarray]) -> np.ndarray:
        """(clusters, *S) statistics of the task per speaker, or per clip where speakers are unknown.

        Confusion counts (clusters, K, K) of a classification. predicted: for each fold the predictions of its
        test rows.
        """
        return self._task.statistics(self._y, np.concatenate(predicted), self._clusters, self._classes)

    def near_best(self, systems: Sequence[System], *, metric: Metric) -> list[bool]:
        """Which systems are within noise of the best; see `paired.near_best`."""
        return near_best(self._stacked(systems), metric=metric, seed=self._seed)[1]

    def on_fold(self, result: StudyResult) -> dict[str, float]:
        """Every metric on one outer fold."""
        return self._scores(self._truth(result), result.predicted)

    def details(self, system: System) -> dict[str, Any]:
        """Scores by fold and speaker, and those of the task.

        over_folds: mean and standard deviation of the folds' scores. over_speakers: the unweighted mean of
        the speakers' scores, with its interval; None without speakers. The rest is over all test clips
        together: scores of the probabilities and of each class, or mean and deviation of the numbers.
        """
        predicted = np.concatenate([result.predicted for result in system])
        by_fold = [
            {**self.on_fold(result), **self._of_probabilities(self._truth(result), result.probability)}
            for result in system
        ]
        found = {
            "over_folds": {name: _mean_and_sd([scores[name] for scores in by_fold]) for name in by_fold[0]},
            "over_speakers": None if self._data.speakers is None else self._over_speakers(predicted),
        }
        if not self._classes:
            return {**found, "true": _mean_and_sd(self._y), "predicted": _mean_and_sd(predicted)}
        probability = np.concatenate([result.probability for result in system])
        if self._data.task in ("multilabel", "soft"):
            return {
                **found,
                **self._of_probabilities(self._y, probability),
                **self._by_label(probability, predicted),
            }
        return {
            **found,
            **self._of_probabilities(self._y, probability),
            **self._by_class(confusion.confusion(self._y, predicted, classes=self._classes)),
        }

    def baseline(self) -> dict[str, Any]:
        """The scores without features: of each fold's training clips the most frequent class, or the mean.

        Of sets of labels, those that more than half of the clips have.
        """
        predicted = []
        for fold in self._folds:
            y = self._data.y[fold.outer.train]
            value = y.mean(0) if y.dtype.kind == "f" else y.mean(0) > 0.5
            if y.dtype.kind == "i":
                value = np.bincount(y).argmax()
            predicted.append(np.repeat(np.asarray(value)[None], len(fold.outer.test), axis=0))
        scores = self._scores(self._y, np.concatenate(predicted))
        return {name: {"value": value} for name, value in scores.items()}

    def _truth(self, result: StudyResult) -> np.ndarray:
        return self._data.y[self._folds[result.id.fold].outer.test]

    def _stacked(self, systems: Sequence[System]) -> np.ndarray:
        """(clusters, R, *S) statistics."""
        return np.stack([self.counts([result.predicted for result in system]) for system in systems], axis=1)

    def _scores(self, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        return self._task.scores(self._task.statistics(y, predicted, None, self._classes))

    def _over_speakers(self, predicted: np.ndarray) -> dict[str, Any]:
        """Speakers without a score, such as a correlation of a single clip, are left out of its mean."""
        speakers = [self._clusters == speaker for speaker in np.unique(self._clusters)]
        each = [self._scores(self._y[rows], predicted[rows]) for rows in speakers]
        found: dict[str, Any] = {}
        for name, measure in self._task.measures.items():
            values = np.array([scores[name] for scores in each])
            known = values[~np.isnan(values)][:, None]
            if len(known):
                within = measure.low, measure.high
                found[name] = asdict(mean_intervals(known, seed=self._seed, within=within)[0])
        return found

    def _of_probabilities(self, y: np.ndarray, probability: np.ndarray) -> dict[str, float]:
        if not self._classes or self._data.task == "soft":
            return {}  # scores of shares are measures of the task
        if self._data.task == "multilabel":
            return {"log_loss": label_sets.log_loss(y, probability)}
        return {
            "log_loss": confusion.log_loss(y, probability),
            "calibration_error": confusion.calibration_error(y, probability),
        }

    def _by_label(self, probability: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
        """Of shares, those above 1 / K. AP: average precision, the area under precision over recall as
        scikit-learn sums it."""
        y, found = (self._data.rules.members(each, self._classes) for each in (self._y, predicted))
        sums = label_sets.statistics(y, found, None, self._classes)
        scores = {
            "recall": label_sets.each_recall(sums),
            "precision": label_sets.each_precision(sums),
            "f1": label_sets.each_f1(sums),
            "uar": label_sets.each_uar(sums),
        }
        return {
            "labels": [
                {
                    "label": name,
                    "clips": int(y[:, k].sum()),
                    **{score: values[k] for score, values in scores.items()},
                    "ap": average_precision_score(y[:, k], probability[:, k]),
                }
                for k, name in enumerate(self._data.classes)
            ]
        }

    def _by_class(self, counts: np.ndarray) -> dict[str, Any]:
        recall, precision = confusion.recall(counts), confusion.precision(counts)
        return {
            "classes": [
                {"class": name, "clips": counts[k].sum(), "recall": recall[k], "precision": precision[k]}
                for k, name in enumerate(self._data.classes)
            ],
            "confusion": {"counts": counts, "rates": counts / np.maximum(counts.sum(1, keepdims=True), 1)},
        }


def _mean_and_sd(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "sd": sd}
