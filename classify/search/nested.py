"""One study: inner folds select a head's parameters, the outer test partition is predicted once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import TrialPruned
from optuna.trial import FrozenTrial, TrialState

from layerprobe.classify.config import HALVING, StudyConfig
from layerprobe.classify.features.fold_features import BOTH, FoldFeatures, Preprocessing
from layerprobe.classify.features.sampling import sampled_features
from layerprobe.classify.features.scaling import SameFeaturesError
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.registry import head_of
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.space import finite_space, first_untried, input_choices
from layerprobe.classify.search.strategies.pruning import better_half, make_pruner, stalls
from layerprobe.classify.search.strategies.sampling import make_sampler
from layerprobe.classify.tasks.registry import TASKS

MIX_CENTRE, MIX_WIDTH = "mix_centre", "mix_width"
# A trial's user attributes.
PATH_VALUE, TEMPERATURE = "path_value", "temperature"


@dataclass(frozen=True)
class TrialDone:
    """A trial that ended, complete or pruned. stored: another process ran it and has stored it."""

    id: StudyId
    trial: FrozenTrial
    stored: bool = False


def search(
    id: StudyId,
    inner: Sequence[FoldFeatures],
    outer: FoldFeatures,
    y: np.ndarray,
    config: StudyConfig,
    *,
    done: Sequence[FrozenTrial],
    before: StudyResult | None = None,
    deadline: float | None = None,
) -> Iterator[TrialDone | StudyResult]:
    """Run the trials that are not in `done`, then fit the best parameters on the complete training partition.

    Yields each trial as it ends, then the result. inner, outer: arrays of the folds. y: (N,) or (N, K)
    labels of all rows. before: the result of `done`; its parameters are not fitted again if they are still
    the best. deadline: `time.monotonic()` after which no further trial starts.

    Each trial has its own sampler, seeded by its number, so that a resumed study equals an uninterrupted one.
    In a finite space no point is tried twice, and the search ends when all were tried.
    """
    head, task = head_of(config.task, id.head, streamed=outer.streamed), TASKS[config.task]
    study = open_study(config, done)
    for trial in run_trials(study, id, inner, outer, y, config, deadline=deadline):
        yield TrialDone(id, trial)
    best = study.best_trial
    name, _ = head.path
    value = best.user_attrs[PATH_VALUE]
    chosen = {**best.params, **({name: value} if name else {})}
    states = [trial.state for trial in study.trials]
    pruned = states.count(TrialState.PRUNED)
    if before is not None and before.params == chosen:
        yield replace(before, trials=len(states), pruned=pruned)
        return
    features, prep, params = prepared(outer, best.params, seed=config.seed)
    (scores,) = head.fit(features, prep, params, [value], config.seed)
    details = {} if head.explain is None else head.explain(features, prep, params, value, config.seed)
    yield StudyResult(
        id=id,
        params=chosen,
        inner_score=float(best.value),
        predicted=task.decide(scores),
        probability=task.probabilities(scores, best.user_attrs[TEMPERATURE]),
        trials=len(states),
        pruned=pruned,
        details=details,
    )


def open_study(config: StudyConfig, done: Sequence[FrozenTrial]) -> optuna.Study:
    """A study in memory with the trials in `done`."""
    study = optuna.create_study(direction="maximize", pruner=make_pruner(config))
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
    done, features = study.trials, inner[0]
    head = head_of(config.task, id.head, streamed=features.streamed)
    points = finite_space(head, _choices(head, features, config), layers=len(outer.layers))
    if not done:
        study.enqueue_trial(_first_trial(head, outer, config))
    for number in range(len(done), config.trials):
        if number and deadline is not None and time.monotonic() > deadline:
            return
        if points is None or config.pruner != HALVING:
            study.sampler = make_sampler(config, seed=derive_seed(config.seed, str(id), number))
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
    """What the study's sampler suggests, or if that was tried, a point that was not; None if all were.

    Under successive halving the order is random: to model so few points costs more than to try one.
    """
    tried = [trial.params for trial in study.trials]
    if config.pruner == HALVING:
        return first_untried(points, tried, seed=seed)
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
    task, halving, values = TASKS[config.task], config.pruner == HALVING, list(head.path[1])
    # Of each value on the path, the scores of each inner fold.
    pooled: dict[float, list[np.ndarray]] = {value: [] for value in values}
    for step, features in enumerate(inner):
        true = np.concatenate([y[fold.test] for fold in inner[: step + 1]])
        reached: dict[float, float] = {}
        try:
            more, prep, params = prepared(features, trial.params, seed=config.seed)
            fitted = head.fit(more, prep, params, values, config.seed)
            for value, fold_scores in zip(values, fitted, strict=True):
                pooled[value].append(fold_scores)
                predicted = task.decide(np.concatenate(pooled[value]))
                reached[value] = task.score(true, predicted, classes=features.classes, metric=config.metric)
                if halving and not step and stalls(list(reached.values())):
                    break
        except SameFeaturesError:
            if trial.params["stats"] == BOTH.join(inner[0].layers[0].stats):
                raise  # no statistic differs between clips
            raise TrialPruned from None  # this one does not
        best = max(reached, key=reached.__getitem__)  # the first of equals
        trial.report(reached[best], step)
        if step + 1 < len(inner) and trial.should_prune():
            raise TrialPruned
        if halving:
            values = better_half(reached)
    trial.set_user_attr(PATH_VALUE, best)
    others = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if all(reached[best] > other.values[0] for other in others):  # only a best trial's is used
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
