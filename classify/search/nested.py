"""One study: inner folds select a head's parameters, the outer test partition is predicted once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import TrialPruned
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.features.fold_features import BOTH, FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import SameFeaturesError
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.scores import metrics
from layerprobe.classify.scores.calibration import probabilities, temperature
from layerprobe.classify.scores.results import StudyId, StudyResult

RANDOM_TRIALS = 10  # before the sampler models the scores
UNPRUNED_TRIALS = 5  # before the pruner compares
MIX_CENTRE, MIX_WIDTH = "mix_centre", "mix_width"
# A trial's user attributes.
PATH_VALUE, TEMPERATURE = "path_value", "temperature"


@dataclass(frozen=True)
class TrialDone:
    """A trial that ended, complete or pruned."""

    id: StudyId
    trial: FrozenTrial


def search(
    id: StudyId,
    inner: Sequence[FoldFeatures],
    outer: FoldFeatures,
    y: np.ndarray,
    config: StudyConfig,
    *,
    done: Sequence[FrozenTrial],
    deadline: float | None = None,
) -> Iterator[TrialDone | StudyResult]:
    """Run the trials that are not in `done`, then fit the best parameters on the complete training partition.

    Yields each trial as it ends, then the result. inner, outer: arrays of the folds. y: (N,) classes of all
    rows. deadline: `time.monotonic()` after which no further trial starts.

    Each trial has its own sampler, seeded by its number, so that a resumed study equals an uninterrupted one.
    """
    head = HEADS[id.head]
    study = optuna.create_study(direction="maximize", pruner=_pruner(config))
    study.add_trials(done)
    if not done:
        study.enqueue_trial(_first_trial(head, outer, config))
    for number in range(len(done), config.trials):
        if number and deadline is not None and time.monotonic() > deadline:
            break
        study.sampler = _sampler(config, seed=derive_seed(config.seed, str(id), number))
        trial = study.ask()
        try:
            ended = study.tell(trial, _evaluate(trial, head, inner, y, config))
        except TrialPruned:
            ended = study.tell(trial, state=TrialState.PRUNED)
        yield TrialDone(id, ended)
    best = study.best_trial
    name, _ = head.path
    value = best.user_attrs[PATH_VALUE]
    prep, params = split_params(best.params, layers=len(outer.layers))
    (scores,) = head.fit(outer, prep, params, [value], config.seed)
    states = [trial.state for trial in study.trials]
    yield StudyResult(
        id=id,
        params={**best.params, **({name: value} if name else {})},
        inner_score=float(best.value),
        predicted=scores.argmax(1),
        probability=probabilities(scores, best.user_attrs[TEMPERATURE]),
        trials=len(states),
        pruned=states.count(TrialState.PRUNED),
    )


def split_params(params: Params, *, layers: int = 1) -> tuple[Preprocessing, Params]:
    """A trial's parameters → the preprocessing of the input, and the head's own parameters."""
    own = dict(params)
    mix: tuple[float, ...] = ()
    if MIX_CENTRE in own:
        mix = mix_weights(layers, centre=own.pop(MIX_CENTRE), width=own.pop(MIX_WIDTH))
    return Preprocessing(own.pop("stats"), own.pop("scaling"), own.pop("pca"), mix=mix), own


def mix_weights(layers: int, *, centre: float, width: float) -> tuple[float, ...]:
    """Weights of the layers, summing to 1: a Gaussian over depth, centre and width relative to the depth.

    Two numbers cover one layer, the upper half or all layers alike; some tens of trials cannot find one
    weight for each layer.
    """
    depth = np.linspace(0, 1, layers)
    bell = np.exp(-0.5 * ((depth - centre) / width) ** 2)
    return tuple((bell / bell.sum()).tolist())


def derive_seed(seed: int, *step: object) -> int:
    """A seed for one step of a study, the same on every machine."""
    text = "|".join(map(str, (seed, *step)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _evaluate(
    trial: optuna.Trial, head: Head, inner: Sequence[FoldFeatures], y: np.ndarray, config: StudyConfig
) -> float:
    """The best score on the head's path, pooled over the inner folds. Raises TrialPruned."""
    for name, options in _choices(head, inner[0], config).items():
        trial.suggest_categorical(name, options)
    if len(inner[0].layers) > 1:
        trial.suggest_float(MIX_CENTRE, 0.0, 1.0)
        trial.suggest_float(MIX_WIDTH, 0.03, 3.0, log=True)
    head.space(trial)
    prep, params = split_params(trial.params, layers=len(inner[0].layers))
    _, values = head.path
    pooled: list[list[np.ndarray]] = [
        [] for _ in values
    ]  # scores of each inner fold, for each value on the path
    for step, features in enumerate(inner):
        try:
            fitted = head.fit(features, prep, params, values, config.seed)
        except SameFeaturesError:
            if prep.stats == BOTH.join(inner[0].layers[0].stats):
                raise  # no statistic differs between clips
            raise TrialPruned from None  # this one does not
        for scores, fold_scores in zip(pooled, fitted, strict=True):
            scores.append(fold_scores)
        true = np.concatenate([y[fold.test] for fold in inner[: step + 1]])
        reached = [
            metrics.score(
                true, np.concatenate(scores).argmax(1), classes=features.classes, metric=config.metric
            )
            for scores in pooled
        ]
        best = int(np.argmax(reached))
        trial.report(reached[best], step)
        if step + 1 < len(inner) and trial.should_prune():
            raise TrialPruned
    trial.set_user_attr(PATH_VALUE, values[best])
    trial.set_user_attr(TEMPERATURE, temperature(np.concatenate(pooled[best]), true))
    return reached[best]


def _choices(head: Head, shared: FoldFeatures, config: StudyConfig) -> dict[str, list[Any]]:
    """The options of each field of `Preprocessing`, for this head, these states and this configuration."""
    states = shared.layers[0]
    stats = list(states.stats)
    wide = head.widest is not None and states.width * len(stats) > head.widest
    sizes = [size for size in head.pca if size < states.width and not (wide and size == 0)] or [0]
    if len(shared.layers) > 1:
        sizes = [0]
    scalings = [name for name in config.scalings if name in head.scalings] or list(config.scalings[:1])
    return {
        "stats": [BOTH.join(stats), *stats] if len(stats) > 1 else stats,
        "scaling": scalings,
        "pca": sizes,
    }


def _first_trial(head: Head, shared: FoldFeatures, config: StudyConfig) -> Params:
    """The first trial: all statistics, the first scaling, equal layer weights, the head's defaults."""
    choices = _choices(head, shared, config)
    mix = {MIX_CENTRE: 0.5, MIX_WIDTH: 3.0} if len(shared.layers) > 1 else {}
    return {**{name: options[0] for name, options in choices.items()}, **mix, **head.start}


def _sampler(config: StudyConfig, *, seed: int) -> BaseSampler:
    if config.sampler == "random":
        return RandomSampler(seed=seed)
    tpe = TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    if config.sampler == "gp":
        # A Gaussian process needs parameters that every trial has; an SVM's gamma is not one.
        return GPSampler(
            seed=seed,
            n_startup_trials=RANDOM_TRIALS,
            independent_sampler=tpe,
            warn_independent_sampling=False,
        )
    return tpe


def _pruner(config: StudyConfig) -> BasePruner:
    return MedianPruner(n_startup_trials=UNPRUNED_TRIALS) if config.pruner == "median" else NopPruner()
