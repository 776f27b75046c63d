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
from layerprobe.classify.features.sampling import sampled_features
from layerprobe.classify.features.scaling import SameFeaturesError
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.space import finite_space, first_untried, input_choices
from layerprobe.classify.tasks.registry import TASKS

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
    rows, or numbers. deadline: `time.monotonic()` after which no further trial starts.

    Each trial has its own sampler, seeded by its number, so that a resumed study equals an uninterrupted one.
    In a finite space no point is tried twice, and the search ends when all were tried.
    """
    head, task = heads_of(config.task)[id.head], TASKS[config.task]
    study = open_study(config, done)
    for trial in run_trials(study, id, inner, outer, y, config, deadline=deadline):
        yield TrialDone(id, trial)
    best = study.best_trial
    name, _ = head.path
    value = best.user_attrs[PATH_VALUE]
    features, prep, params = prepared(outer, best.params, seed=config.seed)
    (scores,) = head.fit(features, prep, params, [value], config.seed)
    details = {} if head.explain is None else head.explain(features, prep, params, value, config.seed)
    states = [trial.state for trial in study.trials]
    yield StudyResult(
        id=id,
        params={**best.params, **({name: value} if name else {})},
        inner_score=float(best.value),
        predicted=task.decide(scores),
        probability=task.probabilities(scores, best.user_attrs[TEMPERATURE]),
        trials=len(states),
        pruned=states.count(TrialState.PRUNED),
        details=details,
    )


def open_study(config: StudyConfig, done: Sequence[FrozenTrial]) -> optuna.Study:
    """A study in memory with the trials in `done`."""
    study = optuna.create_study(direction="maximize", pruner=_pruner(config))
    study.add_trials(done)
    return study


def run_trials(
    study: optuna.Study,
    id: StudyId,
    inner: Sequence[FoldFeatures],
    outer: FoldFeatures,
    y: np.ndarray,
    config: StudyConfig,
    *,
    deadline: float | None = None,
) -> Iterator[FrozenTrial]:
    """Run the trials that `study` lacks, and yield each as it ends; arguments as of `search`.

    Of `outer`, only the layers' names and widths are used.
    """
    head, done, features = heads_of(config.task)[id.head], study.trials, inner[0]
    points = finite_space(head, _choices(head, features, config), layers=len(outer.layers))
    if not done:
        study.enqueue_trial(_first_trial(head, outer, config))
    for number in range(len(done), config.trials):
        if number and deadline is not None and time.monotonic() > deadline:
            return
        study.sampler = _sampler(config, seed=derive_seed(config.seed, str(id), number))
        if points is not None and number:
            point = _new_point(study, points, head, features, config, seed=derive_seed(config.seed, str(id)))
            if point is None:
                return  # every point was tried
            study.enqueue_trial(point)
        trial = study.ask()
        try:
            yield study.tell(trial, _evaluate(trial, head, inner, y, config))
        except TrialPruned:
            yield study.tell(trial, state=TrialState.PRUNED)


def _new_point(
    study: optuna.Study,
    points: Sequence[Params],
    head: Head,
    features: FoldFeatures,
    config: StudyConfig,
    *,
    seed: int,
) -> Params | None:
    """What the study's sampler suggests, or if that was tried, a point that was not; None if all were."""
    tried = [trial.params for trial in study.trials]
    scratch = optuna.create_study(direction="maximize", sampler=study.sampler)
    scratch.add_trials(study.trials)
    suggested = scratch.ask()
    _suggest(suggested, head, features, config)
    return suggested.params if suggested.params not in tried else first_untried(points, tried, seed=seed)


def split_params(params: Params, *, layers: int = 1) -> tuple[Preprocessing, Params]:
    """A trial's parameters → the preprocessing of the input, and the head's own parameters."""
    own = dict(params)
    mix: tuple[float, ...] = ()
    if MIX_CENTRE in own:
        mix = mix_weights(layers, centre=own.pop(MIX_CENTRE), width=own.pop(MIX_WIDTH))
    stats, scaling, pca = (own.pop(name) for name in ("stats", "scaling", "pca"))
    return Preprocessing(stats, scaling, pca, mix=mix, sampling=own.pop("sampling", "none")), own


def prepared(
    features: FoldFeatures, params: Params, *, seed: int
) -> tuple[FoldFeatures, Preprocessing, Params]:
    """As `split_params`, with the fold whose training rows are sampled as the parameters say."""
    prep, own = split_params(params, layers=len(features.layers))
    return sampled_features(features, prep.sampling, seed=seed), prep, own


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
    _suggest(trial, head, inner[0], config)
    task, (_, values) = TASKS[config.task], head.path
    pooled: list[list[np.ndarray]] = [
        [] for _ in values
    ]  # scores of each inner fold, for each value on the path
    for step, features in enumerate(inner):
        try:
            more, prep, params = prepared(features, trial.params, seed=config.seed)
            fitted = head.fit(more, prep, params, values, config.seed)
        except SameFeaturesError:
            if trial.params["stats"] == BOTH.join(inner[0].layers[0].stats):
                raise  # no statistic differs between clips
            raise TrialPruned from None  # this one does not
        for scores, fold_scores in zip(pooled, fitted, strict=True):
            scores.append(fold_scores)
        true = np.concatenate([y[fold.test] for fold in inner[: step + 1]])
        reached = [
            task.score(
                true, task.decide(np.concatenate(scores)), classes=features.classes, metric=config.metric
            )
            for scores in pooled
        ]
        best = int(np.argmax(reached))
        trial.report(reached[best], step)
        if step + 1 < len(inner) and trial.should_prune():
            raise TrialPruned
    trial.set_user_attr(PATH_VALUE, values[best])
    trial.set_user_attr(TEMPERATURE, task.temperature(np.concatenate(pooled[best]), true))
    return reached[best]


def _suggest(trial: optuna.Trial, head: Head, shared: FoldFeatures, config: StudyConfig) -> None:
    """Give the trial all its parameters."""
    for name, options in _choices(head, shared, config).items():
        trial.suggest_categorical(name, options)
    if len(shared.layers) > 1 and head.kernel:
        trial.suggest_float(MIX_CENTRE, 0.0, 1.0)
        trial.suggest_float(MIX_WIDTH, 0.03, 3.0, log=True)
    head.space(trial)


def _choices(head: Head, shared: FoldFeatures, config: StudyConfig) -> dict[str, list[Any]]:
    states = shared.layers[0]
    return input_choices(
        head, stats=states.stats, width=states.width, layers=len(shared.layers), config=config
    )


def _first_trial(head: Head, shared: FoldFeatures, config: StudyConfig) -> Params:
    """The first trial: all statistics, the first scaling, equal layer weights, the head's defaults."""
    choices = _choices(head, shared, config)
    mix = {MIX_CENTRE: 0.5, MIX_WIDTH: 3.0} if len(shared.layers) > 1 and head.kernel else {}
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
