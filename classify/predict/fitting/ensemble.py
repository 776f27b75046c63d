"""The ensemble of a study, fitted to all clips as to the training part of an outer fold.

Its candidates are the layers and heads that are members in some outer fold. The parameters of each are
searched on inner folds of all clips, the best systems weighted by greedy selection on these folds'
predictions (Caruana et al. 2004), and those with a weight fitted to all clips. No test score chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.layer_names import ENSEMBLE, SEVERAL
from layerprobe.classify.predict.fitting.averaged import EnsembleSystem
from layerprobe.classify.predict.fitting.search import FittedSystem, Searched, folds_of_all, search
from layerprobe.classify.search.ensemble.greedy import greedy_weights
from layerprobe.classify.search.ensemble.members import Member, part_scores
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.storage import TrialStorage
from layerprobe.classify.tasks.classification import CLASSIFICATION


def candidates(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Layer and head of every member in an outer fold whose selected system is an ensemble."""
    folds = summary["selected"]["folds"]
    members = [one for fold in folds for one in fold.get("members", ())]
    return sorted({(str(one["layer"]), str(one["head"])) for one in members})


def fit_ensemble(
    plan: Plan, pairs: Sequence[tuple[str, str]], *, grouped: bool, storage: TrialStorage
) -> FittedSystem:
    """Search each layer and head, weight the best, and fit them; arguments as of `search.search`."""
    inner = folds_of_all(plan, grouped=grouped)
    found = [search(plan, layer=layer, head=head, inner=inner, storage=storage) for layer, head in pairs]
    best = sorted(found, key=lambda one: -one.inner_score)[: plan.config.ensemble]
    predicted = np.stack([_inner_probabilities(plan, one, inner) for one in best])
    y, metric = plan.data.y[np.concatenate([fold.test for fold in inner])], plan.config.metric
    weights = greedy_weights(predicted, y, metric=metric)
    average = np.tensordot(weights, predicted, 1)
    chosen = [place for place in np.argsort(-weights, kind="stable").tolist() if weights[place] > 0]
    known = plan.config.stats or plan.store.extraction.stats
    systems = tuple(best[place].fit(plan) for place in chosen)
    read = {name for system in systems for name in system.stats}
    return FittedSystem(
        system=EnsembleSystem(
            members=systems,
            weights=tuple(float(weights[place]) for place in chosen),
            stats=tuple(name for name in known if name in read),
        ),
        layer=SEVERAL,
        head=ENSEMBLE,
        params={_member(best[place]).name: float(weights[place]) for place in chosen},
        inner_score=CLASSIFICATION.score(y, average.argmax(1), classes=average.shape[1], metric=metric),
        trials=sum(one.trials for one in found),
        members=tuple(
            {
                "layer": best[place].layer,
                "head": best[place].head,
                "params": best[place].params,
                "weight": float(weights[place]),
                "temperature": best[place].temperature,
            }
            for place in chosen
        ),
    )


def _member(one: Searched) -> Member:
    return Member(layer=one.layer, head=one.head, params=one.params)


def _inner_probabilities(plan: Plan, one: Searched, inner: Sequence[Fold]) -> np.ndarray:
    """(n, K) calibrated, of the inner test partitions one after the other."""
    scores = part_scores(plan, inner, _member(one), cache=LruCache(plan.config.memory))
    return CLASSIFICATION.probabilities(np.concatenate(scores), one.temperature)
