"""The part of a search that this process runs while others, on any machines, run the rest.

Trials are seeded by their numbers, so the trials of a study are the same whoever runs them. Each process fits
the best ones itself: it ends with the complete run folder of a search by a single process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from joblib.parallel import (
    LokyBackend,
    MultiprocessingBackend,
    SequentialBackend,
    ThreadingBackend,
    get_active_backend,
)
from optuna.trial import FrozenTrial

from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.parallel import run_parallel
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.sharing.claims import Claims
from layerprobe.classify.search.sharing.processes import Processes
from layerprobe.classify.search.sharing.requests import Grant, Request, SharedUnit, run_shared_unit
from layerprobe.classify.search.sharing.server import reporting_loss
from layerprobe.classify.search.storage import TrialStorage
from layerprobe.classify.search.units import UNITS_PER_WORKER, make_units

# Backends of joblib whose workers see the temporary folder of the main process.
ON_THIS_MACHINE = (LokyBackend, ThreadingBackend, MultiprocessingBackend, SequentialBackend)
POLL_SECONDS = 1.0  # between looks at what other processes have done


@dataclass(frozen=True)
class Waiting:
    """This process waits for so many studies, which others run; 0 once it goes on."""

    studies: int


Message = TrialDone | StudyResult | Waiting


@contextmanager
def joined_processes(storage: TrialStorage) -> Iterator[SharedSearch | None]:
    """Take part in the search of a run on a server while the block runs. Gives None for a file.

    Raises InputError if the storage fails, and for a process with other packages than those that take part.
    """
    if storage.server is None:
        yield None
        return
    with reporting_loss(storage.where):
        processes = Processes(storage.server, run=storage.run)
        claims = Claims(storage.server, processes, run=storage.run)
        with processes:
            yield SharedSearch(storage, processes, claims)


class SharedSearch:
    """A search that this process shares with others, through the storage of its trials."""

    def __init__(self, storage: TrialStorage, processes: Processes, claims: Claims) -> None:
        self._storage, self._processes, self._claims = storage, processes, claims

    def run(
        self,
        plan: Plan,
        pending: Mapping[StudyId, list[FrozenTrial]],
        *,
        results: Mapping[StudyId, StudyResult],
        share: float,
    ) -> Generator[Message, None, None]:
        """Yield trials and results as `units.run_unit` does until every pending study has its result.

        pending, results, share: as of `make_units`. Trials of other processes are yielded too, marked as
        stored. Before the next message is asked for, a trial must be stored and a result saved.
        """
        left = {id: list(trials) for id, trials in pending.items()}
        seconds: float | None = None
        ready, first = set(left), True
        while left:
            units = make_units(
                plan,
                {id: left[id] for id in left if id in ready},
                jobs=plan.jobs,
                results=results,
                share=share,
            )
            if first:  # time for each study, however many are left later
                seconds = units[0].seconds
            with tempfile.TemporaryDirectory(prefix="layerprobe-") as folder:
                shared = [
                    SharedUnit(unit=replace(unit, seconds=seconds), folder=Path(folder)) for unit in units
                ]
                if type(get_active_backend()[0]) not in ON_THIS_MACHINE:
                    most = UNITS_PER_WORKER * plan.jobs
                    shared = yield from self._granted(shared, left, end=plan.config.trials, most=most)
                with closing(
                    run_parallel(run_shared_unit, shared, jobs=plan.jobs, shared=[plan])
                ) as messages:
                    for message in messages:
                        yield from self._handle(message, left, end=plan.config.trials, whole_units=first)
            first = False
            ready = yield from self._ready(left, plan)

    def _granted(
        self, units: Sequence[SharedUnit], left: dict[StudyId, list[FrozenTrial]], *, end: int, most: int
    ) -> Generator[Message, None, list[SharedUnit]]:
        """Units for workers on other machines, which cannot ask: at most so many, and what they may do."""
        ready: list[SharedUnit] = []
        for shared in units[:most]:
            self._claims.refresh()
            grants: dict[StudyId, Grant | None] = {}
            for id in shared.unit.studies:
                yield from self._found(id, left, end=end)
                grants[id] = yield from self._grant(id, [id], left, end=end)
            ready.append(replace(shared, grants=grants))
        return ready

    def _handle(
        self,
        message: Request | TrialDone | StudyResult,
        left: dict[StudyId, list[FrozenTrial]],
        *,
        end: int,
        whole_units: bool,
    ) -> Iterator[Message]:
        """Reply to a worker's request, or pass its message on.

        whole_units: leave a unit alone of which another process runs a study: it has the arrays in memory.
        """
        if isinstance(message, Request):
            self._claims.refresh()
            yield from self._found(message.id, left, end=end)
            others = message.unit if whole_units else [message.id]
            message.grant((yield from self._grant(message.id, others, left, end=end)))
            return
        if isinstance(message, TrialDone):
            left[message.id].append(message.trial)
            self._processes.trials += 1
        yield message
        if isinstance(message, StudyResult):
            self._claims.complete(message.id, end=end, trials=message.trials)
            del left[message.id]

    def _grant(
        self, id: StudyId, others: Sequence[StudyId], left: dict[StudyId, list[FrozenTrial]], *, end: int
    ) -> Generator[Message, None, Grant | None]:
        """What a worker may do with a study; None if another process runs it or one of the `others`."""
        claims = self._claims
        if self._is_complete(id, left, end=end):
            return Grant(trials=left[id], complete=True)
        if any(claims.is_elsewhere(other, end=end) for other in others) or not claims.take(id, end=end):
            return None
        yield from self._found(id, left, end=end)  # those of a process that died with the study
        return Grant(trials=left[id], complete=False)

    def _found(self, id: StudyId, left: dict[StudyId, list[FrozenTrial]], *, end: int) -> Iterator[TrialDone]:
        """The trials of a study, up to number `end`, that other processes have added."""
        for trial in self._storage.trials(id)[len(left[id]) : end]:
            left[id].append(trial)
            yield TrialDone(id, trial, stored=True)

    def _is_complete(self, id: StudyId, left: Mapping[StudyId, list[FrozenTrial]], *, end: int) -> bool:
        """Whether a process has run all trials of a study, and they are still in the storage."""
        trials = self._claims.completed(id, end=end)
        return trials is not None and len(left[id]) >= trials

    def _ready(
        self, left: dict[StudyId, list[FrozenTrial]], plan: Plan
    ) -> Generator[Message, None, set[StudyId]]:
        """Wait for studies that this process can run, or whose best trials it can fit."""
        end = plan.config.trials
        while left:
            self._claims.refresh()
            free: set[StudyId] = set()
            complete: set[StudyId] = set()
            for id in left:
                yield from self._found(id, left, end=end)
                if self._is_complete(id, left, end=end):
                    complete.add(id)
                elif not self._claims.is_elsewhere(id, end=end):
                    free.add(id)
            if free or len(complete) >= min(plan.jobs, len(left)):
                yield Waiting(0)
                return free | complete
            yield Waiting(len(left) - len(complete))
            time.sleep(POLL_SECONDS)
        return set()
