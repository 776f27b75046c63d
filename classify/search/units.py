"""Units of work: a study cut into pieces for worker processes, and what a worker does with one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone, search
from layerprobe.classify.search.plan import Plan, fold_features, layer_states
from layerprobe.classify.search.storage import silence_optuna

UNITS_PER_WORKER = 4  # with as many or more, all workers are busy almost to the end
NO_FURTHER_TRIAL = -1.0  # seconds for a study whose best trial is only to be fitted


class StudyRunner(Protocol):
    """Runs a study: its trials so far, and seconds for further ones → what `run_unit` yields for it."""

    def __call__(
        self, id: StudyId, trials: list[FrozenTrial], *, seconds: float | None
    ) -> Iterator[TrialDone | StudyResult]: ...


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Studies of one layer and outer fold, which share arrays, for one worker.

    studies: each with its trials so far. seconds: for each study. memory: bytes for shared arrays.
    results: of these studies after the trials so far, where they have one.
    """

    plan: Plan
    studies: Mapping[StudyId, list[FrozenTrial]]
    seconds: float | None
    memory: int
    results: Mapping[StudyId, StudyResult] = field(default_factory=dict)


def make_units(
    plan: Plan,
    pending: Mapping[StudyId, list[FrozenTrial]],
    *,
    jobs: int,
    results: Mapping[StudyId, StudyResult] | None = None,
    share: float = 1.0,
) -> list[Unit]:
    """The heads of a layer and fold together, unless that would leave workers idle.

    pending: studies to do, each with its finished trials. results: of finished trials. share: of the study's
    time limit.
    """
    together = len({(id.fold, id.layer) for id in pending}) >= UNITS_PER_WORKER * jobs
    groups: dict[tuple[object, ...], dict[StudyId, list[FrozenTrial]]] = {}
    for id, trials in pending.items():
        groups.setdefault((id.fold, id.layer) if together else (id,), {})[id] = trials
    timeout = plan.config.timeout
    seconds = None if timeout is None or not pending else timeout * share * jobs / len(pending)
    memory, results = plan.config.memory // jobs, results or {}
    return [
        Unit(
            plan=plan,
            studies=group,
            seconds=seconds,
            memory=memory,
            results={id: results[id] for id in group if id in results},
        )
        for group in groups.values()
    ]


def run_unit(unit: Unit) -> Iterator[TrialDone | StudyResult]:
    """Yield each trial as it ends, and each study's result."""
    run = study_runner(unit)
    for id, trials in unit.studies.items():
        yield from run(id, trials, seconds=unit.seconds)


def study_runner(unit: Unit) -> StudyRunner:
    """A function that runs a study of a unit; arrays are shared with the studies that it ran before."""
    silence_optuna()
    plan, data = unit.plan, unit.plan.data
    first = next(iter(unit.studies))
    nested = plan.folds[first.fold]
    cache = LruCache(unit.memory)
    layers = layer_states(plan, plan.layers_of(first.layer), cache=cache.section("states"))

    def run(
        id: StudyId, trials: list[FrozenTrial], *, seconds: float | None
    ) -> Iterator[TrialDone | StudyResult]:
        inner = [
            fold_features(plan, layers, fold, head=id.head, cache=cache.section(k))
            for k, fold in enumerate(nested.inner)
        ]
        outer = fold_features(plan, layers, nested.outer, head=id.head, cache=cache.section("outer"))
        deadline = None if seconds is None else time.monotonic() + seconds
        before = unit.results.get(id)
        with naming_layer(id.layer, id.fold):
            yield from search(
                id, inner, outer, data.y, plan.config, done=trials, before=before, deadline=deadline
            )

    return run


@contextmanager
def naming_layer(layer: str, fold: int) -> Iterator[None]:
    """Add to an InputError that names no place which layer's states cannot be learnt from."""
    try:
        yield
    except InputError as error:
        if error.where:
            raise
        raise InputError(
            error.what,
            where=f"layer {layer}, outer fold {fold}",
            do=f"{error.do}; name other layers with --layers, or embed the clips again",
        ) from error
