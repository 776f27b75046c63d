"""Which process runs which study of a run, recorded in the run's storage.

A claim is a trial of the Optuna study `RUN/claims`: running, then complete with the number of the study's
trials, or failed if another process had claimed the study before. Claims of dead processes do not count.
"""

from __future__ import annotations

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.sharing.processes import Processes

NAME = "claims"


class Claims:
    """The claims of all processes of a run, as of the last `refresh`.

    A study is claimed for its trials up to a number, since successive halving searches in two rounds.
    """

    def __init__(self, storage: BaseStorage, processes: Processes, *, run: str) -> None:
        self._storage, self._processes = storage, processes
        self._study = optuna.create_study(
            storage=storage, study_name=f"{run}/{NAME}", direction="maximize", load_if_exists=True
        )
        self._own: dict[tuple[str, int], int] = {}  # (study, trials) → trial of the storage
        self._claims: dict[tuple[str, int], list[FrozenTrial]] = {}
        self._living: set[int] = set()

    def refresh(self) -> None:
        """Read the claims, and which processes live."""
        self._living = set(self._processes.living())
        claims: dict[tuple[str, int], list[FrozenTrial]] = {}
        for trial in self._storage.get_all_trials(self._study._study_id, deepcopy=False):
            if trial.state != TrialState.FAIL:
                key = trial.user_attrs["study"], trial.user_attrs["trials"]
                claims.setdefault(key, []).append(trial)
        self._claims = claims

    def completed(self, id: StudyId, *, end: int) -> int | None:
        """How many trials up to number `end` a study has, once it has all of them; else None."""
        claims = self._claims.get((str(id), end), ())
        counts = [int(claim.values[0]) for claim in claims if claim.state == TrialState.COMPLETE]
        return min(counts, default=None)

    def holder(self, id: StudyId, *, end: int) -> int | None:
        """The number of the living process that runs a study: that of the first claim."""
        claim = self._first(id, end)
        return None if claim is None else int(claim.user_attrs["process"])

    def is_elsewhere(self, id: StudyId, *, end: int) -> bool:
        """Whether another living process runs a study."""
        return self.holder(id, end=end) not in (None, self._processes.number)

    def take(self, id: StudyId, *, end: int) -> bool:
        """Claim a study that no living process holds; False if another one was faster.

        The storage numbers claims in the order in which they become visible, so all processes see the same
        first one.
        """
        attributes = {"study": str(id), "trials": end, "process": self._processes.number}
        trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        claim = self._storage.create_new_trial(self._study._study_id, trial)
        self.refresh()
        first = self._first(id, end)
        if first is None or first._trial_id != claim:
            self._storage.set_trial_state_values(claim, TrialState.FAIL)
            return False
        self._own[str(id), end] = claim
        return True

    def complete(self, id: StudyId, *, end: int, trials: int) -> None:
        """Record that a study has all its trials up to number `end`, if this process claimed it."""
        claim = self._own.pop((str(id), end), None)
        if claim is not None:
            self._storage.set_trial_state_values(claim, TrialState.COMPLETE, [float(trials)])

    def _first(self, id: StudyId, end: int) -> FrozenTrial | None:
        """The first running claim of a living process."""
        claims = self._claims.get((str(id), end), ())
        running = [claim for claim in claims if claim.state == TrialState.RUNNING]
        alive = [claim for claim in running if claim.user_attrs["process"] in self._living]
        return min(alive, key=lambda claim: claim.number, default=None)
