"""The ensemble of each outer fold: its best systems, weighted on inner predictions (Caruana et al. 2004)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.layer_names import ENSEMBLE, SEVERAL
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.ensemble.greedy import greedy_weights
from layerprobe.classify.search.ensemble.members import (
    Member,
    MemberPredictions,
    inner_rows,
    predict_member,
)
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.tasks.classification import CLASSIFICATION


@dataclass(frozen=True, kw_only=True)
class EnsembleUnit:
    """The ensemble of one outer fold, for a worker. members: best first. memory: bytes for shared arrays."""

    plan: Plan
    fold: int
    members: tuple[Member, ...]
    memory: int


def ensemble_id(fold: int) -> StudyId:
    """Under which an ensemble is listed beside layers and heads."""
    return StudyId(fold, SEVERAL, ENSEMBLE)


def ensemble_units(plan: Plan, results: Mapping[StudyId, StudyResult]) -> list[EnsembleUnit]:
    """For each outer fold the `plan.config.ensemble` systems with the best inner scores, first of equals."""
    units = []
    for fold in range(len(plan.folds)):
        own = [result for id, result in results.items() if id.fold == fold]
        best = sorted(own, key=lambda result: -result.inner_score)[: plan.config.ensemble]
        members = tuple(map(Member.of, best))
        memory = plan.config.memory // plan.jobs
        units.append(EnsembleUnit(plan=plan, fold=fold, members=members, memory=memory))
    return units


def run_ensemble(unit: EnsembleUnit) -> Iterator[StudyResult]:
    """Fit the members, weight them, and yield the ensemble's result for the outer test partition."""
    plan, cache = unit.plan, LruCache(unit.memory)
    fold = plan.folds[unit.fold]
    # Members on the same layer in turn share its arrays; the order of the result is that of the unit.
    order = sorted(range(len(unit.members)), key=lambda number: unit.members[number].layer)
    made = {number: predict_member(plan, fold, unit.members[number], cache=cache) for number in order}
    members = {member.name: member for member in unit.members}
    predictions = {name: made[number] for number, name in enumerate(members)}
    average = average_members(plan, ensemble_id(unit.fold), predictions)
    details = [
        {
            "layer": members[name].layer,
            "head": members[name].head,
            "params": dict(members[name].params),
            "weight": weight,
            "temperature": predictions[name].temperature,
        }
        for name, weight in average.params.items()
    ]
    yield replace(average, details={"members": details})


def average_members(plan: Plan, id: StudyId, members: Mapping[str, MemberPredictions]) -> StudyResult:
    """The weighted mean of the members' probabilities, its weights chosen on the fold's inner predictions.

    members: by name; `params` of the result has the weight of each that has one, the largest first. The inner
    score is that of the weights on the predictions that chose them, and so slightly too high; the outer test
    partition had no part in either.
    """
    fold, metric, names = plan.folds[id.fold], plan.config.metric, list(members)
    y = plan.data.y[inner_rows(fold)]
    inner = np.stack([one.inner for one in members.values()])
    weights = greedy_weights(inner, y, metric=metric)
    average = np.tensordot(weights, inner, 1)
    outer = np.tensordot(weights, np.stack([one.outer for one in members.values()]), 1)
    ranked = np.argsort(-weights, kind="stable").tolist()
    return StudyResult(
        id=id,
        params={names[number]: float(weights[number]) for number in ranked if weights[number] > 0},
        inner_score=CLASSIFICATION.score(y, average.argmax(1), classes=average.shape[1], metric=metric),
        predicted=outer.argmax(1),
        probability=outer,
        trials=0,
        pruned=0,
    )
