"""All studies of a plan: one round, or under successive halving a second one for the best layers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from layerprobe.cache.common.console import stage
from layerprobe.classify.runs import run_folder
from layerprobe.classify.runs.cost import RunTimer
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.parallel import run_parallel
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.progress import Progress, ProgressCallback
from layerprobe.classify.search.sharing.run import Message, SharedSearch, Waiting, joined_processes
from layerprobe.classify.search.storage import TrialStorage
from layerprobe.classify.search.strategies.halving import (
    best_layers,
    first_trials,
    further_trials,
    going_on,
    study_trials,
    total_trials,
)
from layerprobe.classify.search.strategies.pruning import without_halving
from layerprobe.classify.search.units import make_units, run_unit


@stage("search")
def search_all(
    plan: Plan, out: Path, run: str, *, report: ProgressCallback | None, timer: RunTimer
) -> dict[StudyId, StudyResult]:
    """Results in the order of `plan.studies()`; finished trials and studies are not repeated.

    out: run folder, which keeps the result of each finished study until the run is complete. run: name of
    its trials in the storage.
    """
    storage = TrialStorage(plan.config.storage, out=out, run=run)
    ids, first, most = plan.studies(), first_trials(plan), plan.config.trials
    further = further_trials(plan) / total_trials(plan)
    if len(going_on(ids)) == len(ids):
        plan = replace(plan, config=without_halving(plan.config))
    with joined_processes(storage) as shared:
        studies = _Studies(plan, out, storage, shared, report=report, timer=timer)
        studies.run(ids, begin=0, end=first, share=1 - further)
        if first < most:
            best = best_layers({id: max(_scores(studies.trials[id][:first])) for id in ids})
            studies.run([id for id in ids if id in best], begin=first, end=most, share=further)
        return {id: studies.results[id] for id in ids}


class _Studies:
    """The studies of a plan with their trials and results so far. shared: with other processes, or None."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        storage: TrialStorage,
        shared: SharedSearch | None,
        *,
        report: ProgressCallback | None,
        timer: RunTimer,
    ) -> None:
        self._plan, self._out, self._report, self._timer = plan, out, report, timer
        self._storage, self._shared = storage, shared
        self.trials = {id: list(self._storage.trials(id)) for id in plan.studies()}
        loaded = {id: run_folder.load_result(out, id) for id in self.trials}
        # Without its trials, as after a storage was deleted, a result does not say which layers go on.
        self.results = {
            id: result for id, result in loaded.items() if result and len(self.trials[id]) >= result.trials
        }
        timeout = plan.config.timeout
        self._progress = Progress(
            total=total_trials(plan), deadline=None if timeout is None else time.monotonic() + timeout
        )

    def run(self, ids: Iterable[StudyId], *, begin: int, end: int, share: float) -> None:
        """Run the trials numbered from `begin` to `end` of these studies, and fit their best.

        share: of the time limit.
        """
        plan = replace(self._plan, config=replace(self._plan.config, trials=end))
        pending: dict[StudyId, list[FrozenTrial]] = {}
        for id in ids:
            result, trials = self.results.get(id), self.trials[id][:end]
            self._progress.resume(id, _scores(trials), trials=len(trials[begin:]))
            if result is None or (begin and result.trials < study_trials(plan, id, trials=end)):
                pending[id] = trials
            elif not begin:
                self._end(result, end=end)
        for message in self._messages(plan, pending, share=share):
            if isinstance(message, Waiting):
                self._progress.waiting = message.studies
            elif isinstance(message, TrialDone):
                if not message.stored:
                    self._storage.add(message.id, message.trial)
                self.trials[message.id].append(message.trial)
                complete = message.trial.state == TrialState.COMPLETE
                self._progress.add(message.id, message.trial.value if complete else None)
            else:
                run_folder.save_result(self._out, message)
                self._timer.save()
                self.results[message.id] = message
                self._end(message, end=end)
            if self._report is not None:
                self._report(self._progress)

    def _messages(
        self, plan: Plan, pending: Mapping[StudyId, list[FrozenTrial]], *, share: float
    ) -> Iterator[Message]:
        """What the workers of this process yield, and what other processes have done."""
        if self._shared is not None:
            yield from self._shared.run(plan, pending, results=self.results, share=share)
            return
        units = make_units(plan, pending, jobs=plan.jobs, results=self.results, share=share)
        yield from run_parallel(run_unit, units, jobs=plan.jobs, shared=[plan])

    def _end(self, result: StudyResult, *, end: int) -> None:
        """Plan no more than the trials that a study has run, where time was up before the rest."""
        planned = study_trials(self._plan, result.id, trials=end)
        self._progress.total -= max(0, planned - result.trials)


def _scores(trials: Sequence[FrozenTrial]) -> list[float]:
    """Of complete trials; Optuna gives a pruned one its last intermediate value."""
    return [trial.value or 0.0 for trial in trials if trial.state == TrialState.COMPLETE]
