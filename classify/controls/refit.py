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
from layerprobe.classify.scores.calibration import probabilities
from layerprobe.classify.search.ensemble.members import Member, member_scores
from layerprobe.classify.search.plan import Plan, fold_features, layer_states


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
    """(m,) classes predicted for the fold's test rows by a fit to its training rows.

    section: of the cache, one for each set of training rows. y: (N,) other classes of all rows.
    """
    total: np.ndarray | float = 0.0
    for member, weight, temperature in selected.members:
        layers = layer_states(plan, plan.layers_of(member.layer), cache=cache.section("states"))
        features = fold_features(plan, layers, fold, cache=cache.section((section, member.layer)))
        if y is not None:
            features = features.relabelled(y)
        scores = member_scores(features, member, seed=plan.config.seed)
        if len(selected.members) == 1:
            return np.asarray(scores.argmax(1))
        total = total + weight * probabilities(scores, temperature)
    return np.asarray(total).argmax(1)


def predictions_by_fold(run: Path, plan: Plan) -> list[np.ndarray]:
    """For each outer fold, (m,) classes that the selected system of `run` predicted for its test rows.

    Raises InputError for a run without predictions.
    """
    predictions = read_system(run)
    codes = np.searchsorted(np.array(plan.data.classes), predictions.predicted)
    code_of = dict(zip(predictions.clips.tolist(), codes.tolist(), strict=True))
    return [
        np.array([code_of[plan.data.ids[row]] for row in fold.outer.test], np.int64) for fold in plan.folds
    ]
