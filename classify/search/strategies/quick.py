"""A first look: one linear probe for each layer and outer fold, with fixed parameters.

Ridge regression on ±1 for each class, as scikit-learn's RidgeClassifier, or on the numbers to predict, on all
statistics, standardised, with balanced classes and the penalty ALPHA relative to the inputs' power. Nothing
is tuned: inner folds choose the layer of the selected system, and the temperature of its probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from layerprobe.cache.common.console import stage
from layerprobe.classify.config import QUICK_HEAD
from layerprobe.classify.data.splits import Fold
from layerprobe.classify.features.fold_features import BOTH, LayerStates, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.console import format_params
from layerprobe.classify.search.plan import Plan, fold_features, layer_states
from layerprobe.classify.search.progress import Progress, ProgressCallback
from layerprobe.classify.search.units import naming_layer
from layerprobe.classify.tasks.registry import TASKS

ALPHA = 10.0
ARRAYS = 6  # of the size of a layer's states, at most at once in a thread


def quick_params(plan: Plan) -> dict[str, Any]:
    """The parameters of every probe, as results.csv has them."""
    stats = plan.config.stats or plan.store.extraction.stats
    head = heads_of(plan.config.task)[QUICK_HEAD]
    name, _ = head.path
    return {
        "stats": BOTH.join(stats), "scaling": plan.config.scalings[0], "pca": 0, name: ALPHA, **head.start,
    }  # fmt: skip


def quick_note(plan: Plan) -> str:
    """What was fitted, and that nothing was tuned."""
    return (
        f"a first look, nothing was tuned: {QUICK_HEAD} with {format_params(quick_params(plan))}; for scores "
        "to report, run classify without --quick"
    )


@stage("probe all layers")
def probe_all(plan: Plan, *, report: ProgressCallback | None) -> dict[StudyId, StudyResult]:
    """The result of one probe for each layer and outer fold, in the order of `plan.studies()`.

    In threads, since starting processes would take longer than the probes.
    """
    ids = plan.studies()
    progress = Progress(total=len(ids))
    layers = list(dict.fromkeys(id.layer for id in ids))
    results: dict[StudyId, StudyResult] = {}
    with threadpool_limits(1):
        parallel = joblib.Parallel(
            n_jobs=_threads(plan), backend="threading", return_as="generator_unordered"
        )
        for of_layer in parallel(joblib.delayed(_probe_layer)(plan, layer) for layer in layers):
            for result in of_layer:
                results[result.id] = result
                progress.add(result.id, result.inner_score)
            if report is not None:
                report(progress)
    return {id: results[id] for id in ids}


def _threads(plan: Plan) -> int:
    """Threads, fewer if their arrays would exceed the memory budget."""
    if plan.streams(QUICK_HEAD):
        return plan.jobs
    width = max(plan.store.extraction.width(id.layer) for id in plan.studies())
    columns = width * len(plan.config.stats or plan.store.extraction.stats)
    return max(1, min(plan.jobs, plan.config.memory // (4 * ARRAYS * len(plan.data) * columns)))


def _scores(plan: Plan, states: tuple[LayerStates, ...], fold: Fold, params: Mapping[str, Any]) -> np.ndarray:
    """(m, K) scores of a fold's test clips."""
    head = heads_of(plan.config.task)[QUICK_HEAD]
    prep = Preprocessing(params["stats"], params["scaling"], params["pca"])
    features = fold_features(plan, states, fold, head=QUICK_HEAD, cache=LruCache(plan.config.memory))
    (scores,) = head.fit(features, prep, dict(head.start), [params[head.path[0]]], plan.config.seed)
    return scores


def _probe_layer(plan: Plan, layer: str) -> list[StudyResult]:
    """One result for each outer fold."""
    params, cache, task = quick_params(plan), LruCache(plan.config.memory), TASKS[plan.config.task]
    states = layer_states(plan, (layer,), cache=cache.section("states"))
    results = []
    for number, nested in enumerate(plan.folds):
        with naming_layer(layer, number):
            held_out = [_scores(plan, states, fold, params) for fold in nested.inner]
            scores = _scores(plan, states, nested.outer, params)
        pooled, true = np.concatenate(held_out), plan.data.y[np.concatenate([f.test for f in nested.inner])]
        inner_score = task.score(
            true, task.decide(pooled), classes=len(plan.data.classes), metric=plan.config.metric
        )
        results.append(
            StudyResult(
                id=StudyId(number, layer, QUICK_HEAD),
                params=params,
                inner_score=inner_score,
                predicted=task.decide(scores),
                probability=task.probabilities(scores, task.temperature(pooled, true)),
                trials=1,
                pruned=0,
            )
        )
    return results
