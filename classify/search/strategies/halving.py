"""Successive halving over layers: the best ones get all trials, the others a third.

All layers of a head in an outer fold get the first third of the trials, but at least LEAST_TRIALS. The best
third of these layers by inner scores, but at least LEAST_LAYERS, get the rest. Every layer and head ends
with a fitted best, so the curve over layers is complete. Decisions wait for the first trials of all layers,
so they do not depend on the number of workers. Up to LEAST_LAYERS layers are all best, and nothing is halved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from layerprobe.classify.config import HALVING
from layerprobe.classify.features.joined import joined_width
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.space import planned_trials

SHARE = 3  # one of so many trials comes first, and one of so many layers goes on
LEAST_LAYERS = 3
LEAST_TRIALS = 10  # of every layer: fewer say little about it


def first_trials(plan: Plan) -> int:
    """Trials of every layer and head; only the best layers get the rest of `config.trials`."""
    ids, trials = plan.studies(), plan.config.trials
    if plan.config.pruner != HALVING or len(going_on(ids)) == len(ids):
        return trials
    return min(trials, max(LEAST_TRIALS, math.ceil(trials / SHARE)))


def further_layers(layers: int) -> int:
    """How many of so many layers get all trials."""
    return min(layers, max(LEAST_LAYERS, math.ceil(layers / SHARE)))


def best_layers(scores: Mapping[StudyId, float]) -> set[StudyId]:
    """The studies, of each outer fold and head, of the layers that get all trials; of equals the first.

    scores: the best inner score of each study after the first trials, in the order of the plan.
    """
    groups: dict[tuple[int, str], list[StudyId]] = {}
    for id in scores:
        groups.setdefault((id.fold, id.head), []).append(id)
    ranked = (sorted(ids, key=lambda id: -scores[id]) for ids in groups.values())
    return {id for ids in ranked for id in ids[: further_layers(len(ids))]}


def going_on(ids: Iterable[StudyId]) -> set[StudyId]:
    """As many studies of each outer fold and head as `best_layers` gives, before there are scores."""
    return best_layers(dict.fromkeys(ids, 0.0))


def study_trials(plan: Plan, id: StudyId, *, trials: int) -> int:
    """Trials of a study that may have `trials`, or as many as its space has points."""
    extraction, layers = plan.store.extraction, plan.layers_of(id.layer)
    return planned_trials(
        heads_of(plan.config.task)[id.head],
        stats=plan.config.stats or extraction.stats,
        width=joined_width(extraction, layers[0]),
        layers=len(layers),
        config=replace(plan.config, trials=trials),
    )


def further_trials(plan: Plan) -> int:
    """Trials of the best layers beyond the first, all together: each layer of a head has as many."""
    most, first = plan.config.trials, first_trials(plan)
    return sum(
        study_trials(plan, id, trials=most) - study_trials(plan, id, trials=first)
        for id in going_on(plan.studies())
    )


def total_trials(plan: Plan) -> int:
    """Trials of a plan that nothing cuts short."""
    first = first_trials(plan)
    return sum(study_trials(plan, id, trials=first) for id in plan.studies()) + further_trials(plan)
