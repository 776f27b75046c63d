"""The Optuna storage: every finished trial is in it before the next message is read."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from cache.errors import InputError
from classify.outcome import StudyId

FILE = "search.db"
BUSY_SECONDS = 60  # to wait for a SQLite file that another program reads


class Trials:
    """The trials of a run, one Optuna study for each `StudyId`, named `RUN/FOLD/LAYER/HEAD`.

    The search itself runs in memory, in the workers; finished trials are added here whole, which costs one
    transaction where asking and telling through a database costs about ten.
    """

    def __init__(self, url: str | None, *, out: Path, run: str) -> None:
        """url: any Optuna storage; None for SQLite in `out`. Raises InputError where it cannot be opened."""
        self._run = run
        self._storage = _open(url or f"sqlite:///{(out / FILE).resolve()}")
        self._numbers: dict[str, int] = {}  # the storage's own, by study

    def of(self, id: StudyId) -> list[FrozenTrial]:
        """The finished trials of a study, in their order."""
        try:
            number = self._storage.get_study_id_from_name(self._name(id))
        except KeyError:
            return []
        self._numbers[self._name(id)] = number
        return self._storage.get_all_trials(number, deepcopy=False)

    def add(self, id: StudyId, trial: FrozenTrial) -> None:
        """Add a finished trial; the study is made with its first, unless `of` has found it."""
        name = self._name(id)
        if name not in self._numbers:
            self._numbers[name] = self._storage.create_new_study([StudyDirection.MAXIMIZE], name)
        self._storage.create_new_trial(self._numbers[name], template_trial=trial)

    def _name(self, id: StudyId) -> str:
        return f"{self._run}/{id}"


def _open(url: str) -> BaseStorage:
    options = {"connect_args": {"timeout": BUSY_SECONDS}} if url.startswith("sqlite") else None
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # SQLAlchemy's and each driver's own; none of them share a base
        raise InputError(f"cannot open the Optuna storage ({error})".replace("\n", " "), where=url) from error


def quiet() -> None:
    """Optuna's own log of every trial is replaced by the progress that `run_study` reports."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
