"""The selected layer and head: parameters searched on inner folds of all clips, and the fit to all clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import TrialState

from layerprobe.cache.identity.extraction import FRAME
from layerprobe.classify.data.splits import Fold, selection_folds
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.predict.fitting.averaged import EnsembleSystem
from layerprobe.classify.predict.fitting.refit import refit
from layerprobe.classify.predict.system import System
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.nested import PATH_VALUE, TEMPERATURE, open_study, run_trials
from layerprobe.classify.search.plan import Plan, fold_features, layer_states
from layerprobe.classify.search.storage import TrialStorage
from layerprobe.classify.search.strategies.pruning import without_halving


@dataclass(frozen=True, kw_only=True)
class FittedSystem:
    """A system with what led to it: parameters, and their score in cross-validation over all clips.

    members: of an ensemble, the layer, head, parameters and weight of each, as in `summary.json`.
    """

    system: System | EnsembleSystem
    layer: str
    head: str
    params: dict[str, Any]
    inner_score: float
    trials: int
    members: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The best parameters of a layer and head on inner folds of all clips. trials: how many were run."""

    layer: str
    head: str
    params: dict[str, Any]
    temperature: float
    inner_score: float
    trials: int

    def fit(self, plan: Plan) -> System:
        """Fitted to all clips."""
        frames = None
        if plan.store.extraction.stats == (FRAME,):
            (states,) = layer_states(plan, plan.layers_of(self.layer), cache=LruCache(plan.config.memory))
            frames = states.frames
        return refit(plan, self.layer, self.head, self.params, temperature=self.temperature, frames=frames)


def fit_system(plan: Plan, *, layer: str, head: str, grouped: bool, storage: TrialStorage) -> FittedSystem:
    """Search the parameters of one layer and head on all clips, then fit them to all clips; see `search`."""
    best = search(plan, layer=layer, head=head, inner=folds_of_all(plan, grouped=grouped), storage=storage)
    return FittedSystem(
        system=best.fit(plan),
        layer=layer,
        head=head,
        params=best.params,
        inner_score=best.inner_score,
        trials=best.trials,
    )


def folds_of_all(plan: Plan, *, grouped: bool) -> tuple[Fold, ...]:
    """Inner folds of all clips. grouped: whether they are speaker-disjoint."""
    config = plan.config
    seed = config.seed + 1 + len(plan.folds)
    return selection_folds(plan.data, grouped=grouped, inner_folds=config.inner_folds, seed=seed)


def search(plan: Plan, *, layer: str, head: str, inner: Sequence[Fold], storage: TrialStorage) -> Searched:
    """Search the parameters of one layer and head as in an outer fold, on inner folds of all clips.

    storage: keeps the trials, so that an interrupted search resumes.
    """
    config, everything = without_halving(plan.config), np.arange(len(plan.data))
    cache = LruCache(config.memory)
    layers = layer_states(plan, plan.layers_of(layer), cache=cache.section("states"))
    features = [
        fold_features(plan, layers, fold, head=head, cache=cache.section(k)) for k, fold in enumerate(inner)
    ]
    # Of these rows, the search needs no more than the layers' names and widths.
    nothing = Fold(everything, everything[:0])
    all_clips = fold_features(plan, layers, nothing, head=head, cache=cache.section("all"))
    id = StudyId(len(plan.folds), layer, head)  # the outer folds are numbered from 0
    trials = list(storage.trials(id))
    study = open_study(config, trials)
    for trial in run_trials(study, id, features, all_clips, plan.data.y, config):
        storage.add(id, trial)
        trials.append(trial)
    # Optuna gives a pruned trial its last intermediate value.
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(complete, key=lambda trial: trial.value or 0.0)
    name, value = heads_of(config.task)[head].path[0], best.user_attrs[PATH_VALUE]
    return Searched(
        layer=layer,
        head=head,
        params={**best.params, **({name: value} if name else {})},
        temperature=best.user_attrs[TEMPERATURE],
        inner_score=float(best.value or 0.0),
        trials=len(trials),
    )
