"""One study: inner folds choose a head's parameters on a layer, the outer test part is predicted once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from classify import metrics
from classify.config import StudyConfig
from classify.fitted import Fitted, Params
from classify.heads import HEADS, Head
from classify.sharing import BOTH, Prep, Shared, States

NOTE = "note:"  # prefix of a trial's user attributes that the last fit needs
SECONDS = "seconds"
RANDOM_TRIALS = 10  # before the sampler and the pruner have something to go by


@dataclass(frozen=True, order=True)
class StudyId:
    """Which study: the outer fold's number, the layer and the head."""

    fold: int
    layer: str
    head: str

    def __str__(self) -> str:
        return f"{self.fold}/{self.layer}/{self.head}"


@dataclass(frozen=True)
class TrialDone:
    """A trial that ended, complete or pruned."""

    id: StudyId
    trial: FrozenTrial


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a study found: its best parameters and what they predict for the outer test rows.

    inner_score: of the pooled inner predictions. predicted: (m,) classes; probability: (m, K).
    """

    id: StudyId
    params: Params
    inner_score: float
    predicted: np.ndarray
    probability: np.ndarray
    trials: int
    pruned: int


def search(
    id: StudyId,
    inner: Sequence[Shared],
    outer: Shared,
    y: np.ndarray,
    config: StudyConfig,
    *,
    done: Sequence[FrozenTrial],
    deadline: float | None = None,
) -> Iterator[TrialDone | Outcome]:
    """Run the trials that are not among `done`, then fit the best parameters on the whole training part.

    Yields each trial as it ends, then the outcome. y: (N,) classes of all rows. deadline: `time.monotonic()`
    after which no further trial starts.

    Each trial has its own sampler, seeded by its place, so that a resumed study goes the way of an unbroken
    one.
    """
    head = HEADS[id.head]
    study = optuna.create_study(direction="maximize", pruner=_pruner(config))
    study.add_trials(done)
    if not done:
        study.enqueue_trial(_start(head, outer.states, config))
    for number in range(len(done), config.trials):
        if number and deadline is not None and time.monotonic() > deadline:
            break
        study.sampler = _sampler(config, seed=derive(config.seed, str(id), number))
        trial = study.ask()
        began = time.perf_counter()
        value = _try(trial, head, inner, y, config)
        trial.set_user_attr(SECONDS, time.perf_counter() - began)
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        yield TrialDone(id, study.tell(trial, value, state))
    best = study.best_trial
    notes = {k.removeprefix(NOTE): v for k, v in best.user_attrs.items() if k.startswith(NOTE)}
    prep, params = split_params(best.params)
    fitted = head.fit(outer, prep, params, seed=config.seed, notes=notes)
    states = [trial.state for trial in study.trials]
    yield Outcome(
        id=id,
        params=best.params,
        inner_score=float(best.value),
        predicted=fitted.scores.argmax(1),
        probability=head.probability(fitted.scores, notes),
        trials=len(states),
        pruned=states.count(TrialState.PRUNED),
    )


def split_params(params: Params) -> tuple[Prep, Params]:
    """A trial's parameters → how the input is made, and the head's own parameters."""
    own = dict(params)
    prep = Prep(own.pop("stats"), own.pop("scaling"), own.pop("pca"))
    return prep, own


def derive(seed: int, *place: object) -> int:
    """A seed for one place of a study, the same on every machine."""
    text = "|".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _try(
    trial: optuna.Trial, head: Head, inner: Sequence[Shared], y: np.ndarray, config: StudyConfig
) -> float | None:
    """The trial's score over the inner folds' pooled predictions; None if it was pruned on the way."""
    choices = _choices(head, inner[0].states, config)
    prep = Prep(**{name: trial.suggest_categorical(name, options) for name, options in choices.items()})
    params = head.space(trial)
    fits: list[Fitted] = []
    for step, shared in enumerate(inner):
        fits.append(head.fit(shared, prep, params, seed=config.seed, notes=None))
        true = np.concatenate([y[part.test] for part in inner[: step + 1]])
        predicted = np.concatenate([fit.scores.argmax(1) for fit in fits])
        value = metrics.score(true, predicted, classes=shared.classes, metric=config.metric)
        trial.report(value, step)
        if step + 1 < len(inner) and trial.should_prune():
            return None
    for name, note in head.summarise(fits, [y[shared.test] for shared in inner]).items():
        trial.set_user_attr(NOTE + name, note)
    return value


def _choices(head: Head, states: States, config: StudyConfig) -> dict[str, list]:
    """The options of each part of `Prep` that this head, these states and this configuration leave open."""
    stats = [name for name in states.stats if name in (config.stats or states.stats)]
    sizes = [size for size in head.pca if size < states.width] or [0]
    scalings = [s for s in config.scalings if s in head.scalings] or list(config.scalings)
    return {
        "stats": [*stats, BOTH.join(stats)] if len(stats) > 1 else stats,
        "scaling": scalings,
        "pca": sizes,
    }


def _start(head: Head, states: States, config: StudyConfig) -> Params:
    return {
        **{
            name: options[-1 if name == "stats" else 0]
            for name, options in _choices(head, states, config).items()
        },
        **head.start,
    }


def _sampler(config: StudyConfig, *, seed: int) -> BaseSampler:
    if config.sampler == "random":
        return RandomSampler(seed=seed)
    if config.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=RANDOM_TRIALS, deterministic_objective=True)
    return TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)


def _pruner(config: StudyConfig) -> BasePruner:
    return MedianPruner(n_startup_trials=RANDOM_TRIALS // 2) if config.pruner == "median" else NopPruner()
