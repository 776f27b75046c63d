"""From outcomes to what a run says: the selected system, the curve over layers, each with its interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from layerprobe.classify.config import Metric
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold, shared_speakers
from layerprobe.classify.scores.results import SELECTED, ResultRow, StudyId, StudyResult
from layerprobe.classify.scores.scoring import Scorer, System

Results = Mapping[StudyId, StudyResult]


def result_rows(
    data: Dataset, folds: Sequence[OuterFold], outcomes: Results, *, seed: int
) -> list[ResultRow]:
    """One row per outcome, in their order."""
    scorer = Scorer(data, folds, seed=seed)
    return [
        ResultRow(
            fold=id.fold,
            layer=id.layer,
            head=id.head,
            inner_score=outcome.inner_score,
            **scorer.on_fold(outcome),
            trials=outcome.trials,
            pruned=outcome.pruned,
            params=json.dumps(outcome.params, sort_keys=True),
        )
        for id, outcome in outcomes.items()
    ]


def select_system(outcomes: Results, *, head: str | None = None) -> list[StudyResult]:
    """For each outer fold the layer and head with the best inner score; the first of equals."""
    best: dict[int, StudyResult] = {}
    for id, outcome in outcomes.items():
        if head in (None, id.head) and (
            id.fold not in best or outcome.inner_score > best[id.fold].inner_score
        ):
            best[id.fold] = outcome
    return [best[fold] for fold in sorted(best)]


def systems_of(outcomes: Results) -> Iterator[tuple[str, System]]:
    """(name, system): `selected`, then every `LAYER/HEAD`."""
    yield SELECTED, select_system(outcomes)
    for (layer, head), chosen in _curve(outcomes).items():
        yield f"{layer}/{head}", chosen


class Settings(Protocol):
    """What a summary tells of a run's configuration."""

    @property
    def target(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def seed(self) -> int: ...


def describe(
    data: Dataset,
    folds: Sequence[OuterFold],
    outcomes: Results,
    *,
    config: Settings,
    model: str,
    split: str | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """summary.json: stable names that other programs may read, whatever made the outcomes.

    split: how the outer folds are made, where the configuration does not say.
    """
    scorer = Scorer(data, folds, seed=config.seed)
    chosen, curve = select_system(outcomes), _curve(outcomes)
    heads = [(head, select_system(outcomes, head=head)) for head in dict.fromkeys(id.head for id in outcomes)]
    selected, *scores = scorer.pooled([chosen, *curve.values(), *(system for _, system in heads)])
    near = scorer.near_best(list(curve.values()), metric=config.metric)
    layer, head = _mode([(outcome.id.layer, outcome.id.head) for outcome in chosen])
    return {
        "selected": {
            **selected,
            "layer": layer,
            "head": head,
            "split": split or config.split,
            "stability": _stability(chosen),
            "folds": [_fold_entry(scorer, outcome) for outcome in chosen],
            **scorer.details(chosen),
        },
        "layers": [
            {"layer": layer, "head": head, "uar": told["uar"], config.metric: told[config.metric]}
            for (layer, head), told in zip(curve, scores[: len(curve)], strict=True)
        ],
        "near_best": [
            {"layer": layer, "head": head} for (layer, head), close in zip(curve, near, strict=True) if close
        ],
        "heads": [
            {"head": head, **_layers_entry(system), **told}
            for (head, system), told in zip(heads, scores[len(curve) :], strict=True)
        ],
        "controls": {"majority": scorer.majority()},
        "audit": {"test_clips_of_training_speakers": shared_speakers(data, list(folds))},
        "data": _data(data),
        "chance": 1 / scorer.tested,
        "target": config.target,
        "model": model,
        "metric": config.metric,
        "notes": [*_resampled(data), *notes],
    }


def _curve(outcomes: Results) -> dict[tuple[str, str], list[StudyResult]]:
    """(layer, head) → its outcome on each outer fold."""
    curve: dict[tuple[str, str], list[StudyResult]] = {}
    for id, outcome in outcomes.items():
        curve.setdefault((id.layer, id.head), []).append(outcome)
    return curve


def _fold_entry(scorer: Scorer, outcome: StudyResult) -> dict[str, Any]:
    return {
        "fold": outcome.id.fold,
        "layer": outcome.id.layer,
        "head": outcome.id.head,
        "inner_score": outcome.inner_score,
        "params": outcome.params,
        **scorer.on_fold(outcome),
    }


def _layers_entry(chosen: System) -> dict[str, Any]:
    layers = [outcome.id.layer for outcome in chosen]
    return {"layer": _mode(layers), "layers": layers}


def _stability(chosen: System) -> dict[str, float]:
    """The share of outer folds that agree with the most frequent choice."""
    picks: dict[str, list[Any]] = {
        "layer": [outcome.id.layer for outcome in chosen],
        "head": [outcome.id.head for outcome in chosen],
        "system": [(outcome.id.layer, outcome.id.head) for outcome in chosen],
    }
    return {name: Counter(values).most_common(1)[0][1] / len(values) for name, values in picks.items()}


def _mode(values: Sequence[Any]) -> Any:
    """The most frequent; the first of equals."""
    return Counter(values).most_common(1)[0][0]


def _resampled(data: Dataset) -> list[str]:
    """Why intervals are not what they should be."""
    if data.speakers is None:
        return [
            "no speakers are named: intervals resample clips, and are too narrow where clips share a voice"
        ]
    if len(data.speaker_names) == 1:
        return [f"all clips are of speaker {data.speaker_names[0]}: with nobody to resample, no interval"]
    return []


def _data(data: Dataset) -> dict[str, Any]:
    counts = np.bincount(data.y, minlength=len(data.classes))
    return {
        "clips": len(data),
        "speakers": len(data.speaker_names) or None,
        "classes": dict(zip(data.classes, counts.tolist(), strict=True)),
        "excluded": {
            "count": len(data.excluded),
            "reasons": dict(Counter(data.excluded.values()).most_common()),
            "clips": data.excluded,
        },
    }
