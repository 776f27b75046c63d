"""A study cut into units of work for processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone, search
from layerprobe.classify.search.plan import Plan, share, states_of
from layerprobe.classify.search.storage import quiet

OTHER_LAYERS = "name other layers with --layers, or embed the clips again"
BALANCED = 4  # units for each process, from which on all are busy almost to the end


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process does in one go: the heads of one layer on one outer fold, which share arrays.

    done: trials of an earlier run. seconds: for each study. memory: bytes to keep.
    """

    plan: Plan
    studies: tuple[StudyId, ...]
    done: dict[StudyId, list[FrozenTrial]]
    seconds: float | None
    memory: int


def jobs_of(
    plan: Plan, studies: Sequence[StudyId], done: Mapping[StudyId, list[FrozenTrial]], *, jobs: int
) -> list[Job]:
    """Heads of a layer and fold go together, unless that would leave processes idle."""
    together = len({(id.fold, id.layer) for id in studies}) >= BALANCED * jobs
    groups: dict[tuple[object, ...], list[StudyId]] = {}
    for id in studies:
        groups.setdefault((id.fold, id.layer) if together else (id,), []).append(id)
    timeout = plan.config.timeout
    return [
        Job(
            plan=plan,
            studies=tuple(group),
            done={id: done[id] for id in group},
            seconds=None if timeout is None else timeout * jobs / len(studies),
            memory=plan.config.memory // jobs,
        )
        for group in groups.values()
    ]


def run_job(unit: Job) -> Iterator[TrialDone | StudyResult]:
    """Yield each trial as it ends, and each study's outcome."""
    quiet()
    plan, data, config = unit.plan, unit.plan.data, unit.plan.config
    first = unit.studies[0]
    nested = plan.folds[first.fold]
    kept = LruCache(unit.memory)
    layers = states_of(plan, plan.layers_of(first.layer), kept=kept.section("states"))
    inner = [share(plan, layers, fold, kept=kept.section(k)) for k, fold in enumerate(nested.inner)]
    outer = share(plan, layers, nested.outer, kept=kept.section("outer"))
    for id in unit.studies:
        deadline = None if unit.seconds is None else time.monotonic() + unit.seconds
        try:
            yield from search(id, inner, outer, data.y, config, done=unit.done[id], deadline=deadline)
        except InputError as error:  # a layer's states that cannot be learnt from: which, and what to do
            where = f"layer {id.layer}, outer fold {id.fold}"
            raise InputError(error.what, where=where, do=f"{error.do}; {OTHER_LAYERS}") from error
