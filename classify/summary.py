"""From outcomes to what a run says: the selected system, the curve over layers, each with its interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from classify import metrics
from classify.dataset import Dataset
from classify.heads import HEADS
from classify.runfolder import SELECTED, Row
from classify.search import Outcome, StudyId
from classify.sharing import ANCHORS, exact_limit
from classify.splits import OuterFold, shared_speakers
from classify.units import Plan

Outcomes = Mapping[StudyId, Outcome]
Chosen = list[Outcome]  # one for each outer fold, in order


def rows_of(outcomes: Outcomes, data: Dataset, folds: Sequence[OuterFold]) -> list[Row]:
    """One row per outcome, in their order."""
    rows = []
    for id, outcome in outcomes.items():
        y = data.y[folds[id.fold].outer.test]
        counts = metrics.confusion(y, outcome.predicted, classes=len(data.classes))
        rows.append(
            Row(
                fold=id.fold,
                layer=id.layer,
                head=id.head,
                inner_score=outcome.inner_score,
                uar=float(metrics.uar(counts)),
                accuracy=float(metrics.accuracy(counts)),
                macro_f1=float(metrics.macro_f1(counts)),
                trials=outcome.trials,
                pruned=outcome.pruned,
                params=json.dumps(outcome.params, sort_keys=True),
            )
        )
    return rows


def select(outcomes: Outcomes, *, head: str | None = None) -> Chosen:
    """For each outer fold the layer and head with the best inner score; the first of equals."""
    best: dict[int, Outcome] = {}
    for id, outcome in outcomes.items():
        if head in (None, id.head) and (
            id.fold not in best or outcome.inner_score > best[id.fold].inner_score
        ):
            best[id.fold] = outcome
    return [best[fold] for fold in sorted(best)]


def systems_of(outcomes: Outcomes) -> Iterator[tuple[str, int, Outcome]]:
    """(system, fold, outcome): `selected`, then every `LAYER/HEAD`."""
    for outcome in select(outcomes):
        yield SELECTED, outcome.id.fold, outcome
    for layer, head in dict.fromkeys((id.layer, id.head) for id in outcomes):
        for id, outcome in outcomes.items():
            if (id.layer, id.head) == (layer, head):
                yield f"{layer}/{head}", id.fold, outcome


def summarise(plan: Plan, outcomes: Outcomes) -> dict[str, Any]:
    """summary.json: stable names that other programs may read."""
    data, folds, config = plan.data, plan.folds, plan.config
    scorer = Scorer(data, folds, config.seed)
    chosen = select(outcomes)
    pairs = list(dict.fromkeys((id.layer, id.head) for id in outcomes))
    curve = {pair: [o for id, o in outcomes.items() if (id.layer, id.head) == pair] for pair in pairs}
    layer, head = _mode([(o.id.layer, o.id.head) for o in chosen])
    return {
        "selected": {
            **scorer.pooled(chosen),
            "layer": layer,
            "head": head,
            "split": config.split,
            "stability": _stability(chosen),
            "folds": [
                {
                    "fold": o.id.fold,
                    "layer": o.id.layer,
                    "head": o.id.head,
                    "inner_score": o.inner_score,
                    "params": o.params,
                    **scorer.one(o),
                }
                for o in chosen
            ],
            **scorer.details(chosen),
        },
        "layers": [
            {"layer": layer, "head": head, "uar": scorer.pooled(curve[layer, head])["uar"]}
            for layer, head in pairs
        ],
        "heads": [_head_entry(scorer, name, select(outcomes, head=name)) for name in config.heads],
        "controls": {"majority": scorer.majority()},
        "audit": {"test_clips_of_training_speakers": shared_speakers(data, list(folds))},
        "data": _data(data),
        "chance": 1 / len(data.classes),
        "target": config.target,
        "model": plan.store.extraction.model,
        "metric": config.metric,
        "notes": _notes(plan),
    }


class Scorer:
    """Scores of outcomes against the data's labels."""

    def __init__(self, data: Dataset, folds: Sequence[OuterFold], seed: int) -> None:
        self._data, self._folds, self._seed = data, folds, seed
        self._classes = len(data.classes)

    def pooled(self, chosen: Chosen) -> dict[str, Any]:
        """Each metric over all outer test clips together, with an interval that resamples speakers."""
        rows, predicted, _ = self._pool(chosen)
        clusters = rows if self._data.speakers is None else self._data.speakers[rows]
        counts = metrics.cluster_counts(self._data.y[rows], predicted, clusters, classes=self._classes)
        return {
            name: asdict(metrics.interval(counts, metric=name, seed=self._seed))
            for name in ("uar", "accuracy", "macro_f1")
        }

    def one(self, outcome: Outcome) -> dict[str, float]:
        """Each metric on one outer fold."""
        y = self._data.y[self._folds[outcome.id.fold].outer.test]
        counts = metrics.confusion(y, outcome.predicted, classes=self._classes)
        return {name: float(function(counts)) for name, function in metrics.SCORES.items()}

    def details(self, chosen: Chosen) -> dict[str, Any]:
        """What stands behind the three headline scores."""
        rows, predicted, probability = self._pool(chosen)
        y = self._data.y[rows]
        counts = metrics.confusion(y, predicted, classes=self._classes)
        folds = np.array([list(self.one(outcome).values()) for outcome in chosen])
        spread = folds.std(0, ddof=1) if len(folds) > 1 else np.full(3, np.nan)
        return {
            "over_folds": {
                name: {"mean": mean, "sd": sd}
                for name, mean, sd in zip(
                    metrics.SCORES, folds.mean(0).tolist(), spread.tolist(), strict=True
                )
            },
            "over_speakers": self._over_speakers(rows, predicted),
            "log_loss": metrics.log_loss(y, probability),
            "calibration_error": metrics.calibration_error(y, probability),
            "classes": [
                {"class": name, "clips": clips, "recall": recall, "precision": precision}
                for name, clips, recall, precision in zip(
                    self._data.classes,
                    counts.sum(1).tolist(),
                    metrics.recall(counts).tolist(),
                    metrics.precision(counts).tolist(),
                    strict=True,
                )
            ],
            "confusion": {
                "counts": counts.tolist(),
                "rates": (counts / np.maximum(counts.sum(1, keepdims=True), 1)).tolist(),
            },
        }

    def majority(self) -> dict[str, Any]:
        """What always saying a fold's most frequent training class would score."""
        y, predicted = [], []
        for fold in self._folds:
            most = np.bincount(self._data.y[fold.outer.train]).argmax()
            y.append(self._data.y[fold.outer.test])
            predicted.append(np.full(len(fold.outer.test), most))
        counts = metrics.confusion(np.concatenate(y), np.concatenate(predicted), classes=self._classes)
        return {name: {"value": float(function(counts))} for name, function in metrics.SCORES.items()}

    def _over_speakers(self, rows: np.ndarray, predicted: np.ndarray) -> dict[str, float] | None:
        """Accuracy of each speaker, averaged: few talkative speakers weigh no more than the others."""
        if self._data.speakers is None:
            return None
        counts = metrics.cluster_counts(
            self._data.y[rows], predicted, self._data.speakers[rows], classes=self._classes
        )
        return {
            "uar": float(metrics.uar(counts).mean()),
            "accuracy": float(metrics.accuracy(counts).mean()),
            "macro_f1": float(metrics.macro_f1(counts).mean()),
        }

    def _pool(self, chosen: Chosen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.concatenate([self._folds[o.id.fold].outer.test for o in chosen])
        return (
            rows,
            np.concatenate([o.predicted for o in chosen]),
            np.concatenate([o.probability for o in chosen]),
        )


def _head_entry(scorer: Scorer, head: str, chosen: Chosen) -> dict[str, Any]:
    layer = _mode([o.id.layer for o in chosen])
    return {"head": head, "layer": layer, "layers": [o.id.layer for o in chosen], **scorer.pooled(chosen)}


def _notes(plan: Plan) -> list[str]:
    """What a reader of the scores should know of how they came about."""
    if plan.exact or not any(HEADS[head].kernel for head in plan.config.heads):
        return []
    limit = exact_limit(plan.config.memory)
    return [
        f"{plan.largest} training clips are too many for whole kernels (limit {limit} with this memory): "
        f"kernels are approximated with {ANCHORS} of them (Nyström)"
    ]


def _mode(values: Sequence[Any]) -> Any:
    """The most frequent; the first of equals."""
    return Counter(values).most_common(1)[0][0]


def _stability(chosen: Chosen) -> dict[str, float]:
    """The share of outer folds that agree with the most frequent choice."""
    picks: dict[str, list[Any]] = {
        "layer": [o.id.layer for o in chosen],
        "head": [o.id.head for o in chosen],
        "system": [(o.id.layer, o.id.head) for o in chosen],
    }
    return {name: Counter(values).most_common(1)[0][1] / len(values) for name, values in picks.items()}


def _data(data: Dataset) -> dict[str, Any]:
    reasons = Counter(data.excluded.values())
    return {
        "clips": len(data),
        "speakers": len(data.speaker_names) or None,
        "classes": {name: int((data.y == k).sum()) for k, name in enumerate(data.classes)},
        "excluded": {
            "count": len(data.excluded),
            "reasons": dict(reasons.most_common()),
            "clips": data.excluded,
        },
    }
