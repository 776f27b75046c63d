"""From study results to summary.json: the selected system and the curve over layers, with intervals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from layerprobe.classify.config import BASELINES, METRICS, Metric
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.splits import OuterFold, shared_speakers
from layerprobe.classify.scores.results import SELECTED, ResultRow, StudyId, StudyResult
from layerprobe.classify.scores.scoring import Scorer, System

Results = Mapping[StudyId, StudyResult]


def result_rows(data: Dataset, folds: Sequence[OuterFold], results: Results, *, seed: int) -> list[ResultRow]:
    """One row of results.csv per result, in their order."""
    scorer = Scorer(data, folds, seed=seed)
    return [
        ResultRow(
            fold=id.fold,
            layer=id.layer,
            head=id.head,
            inner_score=result.inner_score,
            scores=scorer.on_fold(result),
            trials=result.trials,
            pruned=result.pruned,
            params=json.dumps(result.params, sort_keys=True),
        )
        for id, result in results.items()
    ]


def select_system(results: Results, *, head: str | None = None) -> list[StudyResult]:
    """For each outer fold the result with the best inner score (first of equals), of one head or of all."""
    best: dict[int, StudyResult] = {}
    for id, result in results.items():
        if head in (None, id.head) and (
            id.fold not in best or result.inner_score > best[id.fold].inner_score
        ):
            best[id.fold] = result
    return [best[fold] for fold in sorted(best)]


def systems_of(results: Results) -> Iterator[tuple[str, System]]:
    """Yield (name, system) for `selected`, then for each `LAYER/HEAD`."""
    yield SELECTED, select_system(results)
    for (layer, head), system in _curve(results).items():
        yield f"{layer}/{head}", system


class Settings(Protocol):
    """The part of a run's configuration that its summary reports."""

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
    results: Results,
    *,
    config: Settings,
    model: str,
    split: str | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """summary.json, with stable keys for other programs, of frozen and of fine-tuned systems.

    split: how the outer folds were made, where the configuration does not say.
    """
    scorer = Scorer(data, folds, seed=config.seed)
    selected_system, curve = select_system(results), _curve(results)
    heads = [(head, select_system(results, head=head)) for head in dict.fromkeys(id.head for id in results)]
    selected, *scores = scorer.pooled([selected_system, *curve.values(), *(system for _, system in heads)])
    near = scorer.near_best(list(curve.values()), metric=config.metric)
    layer, head = _mode([(result.id.layer, result.id.head) for result in selected_system])
    main = METRICS[data.task][0]
    return {
        "selected": {
            **selected,
            "layer": layer,
            "head": head,
            "split": split or config.split,
            "stability": _stability(selected_system),
            "folds": [_fold_entry(scorer, result) for result in selected_system],
            **scorer.details(selected_system),
        },
        "layers": [
            {"layer": layer, "head": head, main: entry[main], config.metric: entry[config.metric]}
            for (layer, head), entry in zip(curve, scores[: len(curve)], strict=True)
        ],
        "near_best": [
            {"layer": layer, "head": head} for (layer, head), close in zip(curve, near, strict=True) if close
        ],
        "heads": [
            {"head": head, **_layers_entry(system), **entry}
            for (head, system), entry in zip(heads, scores[len(curve) :], strict=True)
        ],
        "controls": {BASELINES[data.task][0]: scorer.baseline()},
        "audit": {"test_clips_of_training_speakers": shared_speakers(data, list(folds))},
        "data": _data(data),
        "chance": scorer.chance,
        "target": config.target,
        "model": model,
        "metric": config.metric,
        "task": data.task,
        "notes": [*_interval_notes(data), *notes],
    }


def _curve(results: Results) -> dict[tuple[str, str], list[StudyResult]]:
    """(layer, head) → its result on each outer fold."""
    curve: dict[tuple[str, str], list[StudyResult]] = {}
    for id, result in results.items():
        curve.setdefault((id.layer, id.head), []).append(result)
    return curve


def _fold_entry(scorer: Scorer, result: StudyResult) -> dict[str, Any]:
    return {
        "fold": result.id.fold,
        "layer": result.id.layer,
        "head": result.id.head,
        "inner_score": result.inner_score,
        "params": result.params,
        **result.details,
        **scorer.on_fold(result),
    }


def _layers_entry(system: System) -> dict[str, Any]:
    layers = [result.id.layer for result in system]
    return {"layer": _mode(layers), "layers": layers}


def _stability(system: System) -> dict[str, float]:
    """The share of outer folds in which the most frequent layer, head or both were selected."""
    picks: dict[str, list[Any]] = {
        "layer": [result.id.layer for result in system],
        "head": [result.id.head for result in system],
        "system": [(result.id.layer, result.id.head) for result in system],
    }
    return {name: Counter(values).most_common(1)[0][1] / len(values) for name, values in picks.items()}


def _mode(values: Sequence[Any]) -> Any:
    """The most frequent value; the first of equals."""
    return Counter(values).most_common(1)[0][0]


def _interval_notes(data: Dataset) -> list[str]:
    """Notes on intervals that are too narrow or missing."""
    if data.speakers is None:
        return [
            "no speakers are named: intervals resample clips, and are too narrow where clips share a voice"
        ]
    if len(data.speaker_names) == 1:
        return [f"all clips are of speaker {data.speaker_names[0]}: with nobody to resample, no interval"]
    return []


def _data(data: Dataset) -> dict[str, Any]:
    counts = data.members.sum(0)
    numbers = {}
    if not data.classes:
        ends = {"least": data.y.min(), "largest": data.y.max()}
        numbers = {"numbers": {**ends, "mean": data.y.mean(), "sd": data.y.std(ddof=1)}}
    return {
        "clips": len(data),
        "speakers": len(data.speaker_names) or None,
        "classes": dict(zip(data.classes, counts.tolist(), strict=True)),
        **numbers,
        "excluded": {
            "count": len(data.excluded),
            "reasons": dict(Counter(data.excluded.values()).most_common()),
            "clips": data.excluded,
        },
    }
