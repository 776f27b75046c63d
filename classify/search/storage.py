"""The Optuna storage of a run: each trial is added as soon as it ends."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.sharing.server import is_server, open_server, reporting_loss

STORAGE_FILE = "search.db"
BUSY_SECONDS = 60  # to wait for a SQLite file that another program has locked
# A system attribute of trials on a server: the number within the search. A process that others took for dead
# may add a trial once more, with another number of the storage's own.
NUMBER = "layerprobe:number"


class TrialStorage:
    """The trials of a run, one Optuna study for each `StudyId`, named `RUN/FOLD/LAYER/HEAD`.

    The search runs in memory, in the workers. The main process adds complete trials, in one transaction each;
    asking and telling through a database takes about ten.

    An SQLite file is for one process at a time. Processes share the storage of a server (`search.sharing`).
    """

    def __init__(self, url: str | None, *, out: Path, run: str) -> None:
        """url: any Optuna storage; None for SQLite in `out`. Raises InputError if it cannot be opened."""
        self.run, self.where = run, url or ""
        self.server: BaseStorage | None = None  # where processes share the trials
        own = (out / STORAGE_FILE).resolve()
        if url is None or url == f"sqlite:///{own}":
            self.where = str(own)
            self._storage = _open_file(own)
        elif is_server(url):
            self.server = self._storage = open_server(url)
        else:
            self._storage = _open_url(url)
        self._numbers: dict[str, int] = {}  # the storage's own, by study

    def trials(self, id: StudyId) -> list[FrozenTrial]:
        """The finished trials of a study, in their order. Raises InputError if reading fails."""
        with reporting_loss(self.where):
            try:
                number = self._storage.get_study_id_from_name(self._name(id))
            except KeyError:
                return []
            self._numbers[self._name(id)] = number
            return _each_once(self._storage.get_all_trials(number, deepcopy=False))

    def add(self, id: StudyId, trial: FrozenTrial) -> None:
        """Add a finished trial; the first one creates the study, unless `trials` has found it.

        On a server, a trial that another process has added is the same, and is left as it is. Raises
        InputError if another run of the same data and settings adds to a file, and if writing fails.
        """
        name = self._name(id)
        with reporting_loss(self.where):
            try:
                if name not in self._numbers:
                    self._numbers[name] = self._storage.create_new_study([StudyDirection.MAXIMIZE], name)
                elif self._contains(self._numbers[name], trial.number):
                    raise DuplicatedStudyError
                if self.server is not None:
                    trial = copy.copy(trial)
                    trial.system_attrs = {**trial.system_attrs, NUMBER: trial.number}
                self._storage.create_new_trial(self._numbers[name], template_trial=trial)
            except DuplicatedStudyError:
                if self.server is None:
                    raise InputError(
                        "another run of the same data and settings is adding trials to this storage",
                        where=self.where,
                        do="wait for it, or give each run its own --storage",
                    ) from None
                if name not in self._numbers:
                    self.trials(id)
                    self.add(id, trial)

    def _contains(self, study: int, number: int) -> bool:
        if self.server is not None:
            trials = self._storage.get_all_trials(study, deepcopy=False)
            return any(_number(trial) == number for trial in trials)
        try:
            self._storage.get_trial_id_from_study_id_trial_number(study, number)
        except KeyError:
            return False
        return True

    def _name(self, id: StudyId) -> str:
        return f"{self.run}/{id}"


def _each_once(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials in the order of their numbers; of equal numbers the first, as the others are the same."""
    found: dict[int, FrozenTrial] = {}
    for trial in trials:
        found.setdefault(_number(trial), trial)
    return [found[number] for number in sorted(found)]


def _number(trial: FrozenTrial) -> int:
    number: int = trial.system_attrs.get(NUMBER, trial.number)
    return number


def _open_file(path: Path) -> BaseStorage:
    """The run's own SQLite file. Its path is in no URL, where ?, % and # would have a meaning."""
    do = "choose another folder for --out"
    if path.exists():
        do = "restore an intact copy, or delete it: its trials are then run again"
    connect = partial(sqlite3.connect, path, timeout=BUSY_SECONDS, check_same_thread=False)
    return _open(f"sqlite:///{STORAGE_FILE}", {"creator": connect}, where=str(path), do=do)


def _open_url(url: str) -> BaseStorage:
    query = url.partition("?")[2]
    if query and ("/" in query or "=" not in query):
        raise InputError("a ? ends the path in a URL", where=url, do="choose a path without ?")
    options = {"connect_args": {"timeout": BUSY_SECONDS}}
    return _open(url, options, where=url, do="give sqlite:///FOLDER/FILE, in an existing folder")


def _open(url: str, options: dict[str, Any], *, where: str, do: str) -> BaseStorage:
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # SQLAlchemy's and the drivers' errors have no common base
        reason = " ".join(str(error).replace(url, where).partition("(Background on this error")[0].split())
        raise InputError(f"cannot open the Optuna storage ({reason})", where=where, do=do) from error


def silence_optuna() -> None:
    """Switch off Optuna's log of every trial; `run_study` reports progress."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
