"""The selected system of a finished run: its predictions, and the same system fitted to other data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.runs.read_predictions import read_system
from layerprobe.classify.search.ensemble.members import Member, member_scores
from layerprobe.classify.search.plan import Plan, fold_features, layer_states
from layerprobe.classify.tasks.label_sets import members_of
from layerprobe.classify.tasks.registry import TASKS
from layerprobe.classify.tasks.votes import shares_of


@dataclass(frozen=True, kw_only=True)
class SelectedFold:
    """What the inner folds of one outer fold selected.

    members: with weight and temperature of each; a single system is one member.
    """

    fold: int
    members: tuple[tuple[Member, float, float], ...]


def selected_folds(summary: Mapping[str, Any]) -> list[SelectedFold]:
    """The selected system of a run's summary, fold by fold."""
    return [
        SelectedFold(
            fold=fold["fold"],
            members=tuple(
                (
                    Member(layer=one["layer"], head=one["head"], params=one["params"]),
                    one.get("weight", 1.0),
                    one.get("temperature", 1.0),
                )
                for one in fold.get("members", [fold])
            ),
        )
        for fold in summary["selected"]["folds"]
    ]


def refit(
    plan: Plan,
    selected: SelectedFold,
    fold: Fold,
    *,
    cache: LruCache,
    section: Hashable,
    y: np.ndarray | None = None,
) -> np.ndarray:
    """(m,) classes or numbers predicted for the fold's test rows by a fit to its training rows.

    section: of the cache, one for each set of training rows. y: (N,) other classes of all rows.
    """
    task = TASKS[plan.config.task]
    total: np.ndarray | float = 0.0
    for member, weight, temperature in selected.members:
        layers = layer_states(plan, plan.layers_of(member.layer), cache=cache.section("states"))
        own = cache.section((section, member.layer))
        features = fold_features(plan, layers, fold, head=member.head, cache=own)
        if y is not None:
            features = features.relabelled(y)
        scores = member_scores(features, member, task=plan.config.task, seed=plan.config.seed)
        if len(selected.members) == 1:
            return task.decide(scores)
        total = total + weight * task.probabilities(scores, temperature)
    return task.decide(np.asarray(total))


def predictions_by_fold(run: Path, plan: Plan) -> list[np.ndarray]:
    """For each outer fold, the predictions that the selected system of `run` predicted for its test.

    Raises InputError for a run without predictions.
    """
    predictions = read_system(run)
    values = predictions.predicted.tolist()
    if plan.data.task == "multilabel":
        values = list(members_of(values, plan.data.classes, separator=plan.data.reading.separator))
    elif plan.data.task == "soft":
        values = list(shares_of(values, plan.data.classes))
    elif plan.data.classes:
        number_of = {name: number for number, name in enumerate(plan.data.classes)}
        values = [number_of[name] for name in values]
    value_of = dict(zip(predictions.clips.tolist(), values, strict=True))
    return [np.array([value_of[plan.data.ids[row]] for row in fold.outer.test]) for fold in plan.folds]
