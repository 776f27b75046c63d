"""The Optuna storage of a run: each trial is added as soon as it ends."""

from __future__ import annotations

import re
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import StudyId

STORAGE_FILE = "search.db"
BUSY_SECONDS = 60  # to wait for a SQLite file that another program has locked
# The password of a URL: between user and host, also where a slash is missing, or in its query.
_PASSWORD = re.compile(r"^((?:[\w+.-]+:)?/*[^:@/?]*):(?!/).*@")
_SECRET_OPTION = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)[^&\s]*", re.IGNORECASE)


class TrialStorage:
    """The trials of a run, one Optuna study for each `StudyId`, named `RUN/FOLD/LAYER/HEAD`.

    The search runs in memory, in the workers. The main process adds complete trials, in one transaction each;
    asking and telling through a database takes about ten.
    """

    def __init__(self, url: str | None, *, out: Path, run: str) -> None:
        """url: any Optuna storage; None for SQLite in `out`. Raises InputError if it cannot be opened."""
        self._run = run
        own = (out / STORAGE_FILE).resolve()
        if url is None or url == f"sqlite:///{own}":
            self._where = str(own)
            self._storage = _open_file(own)
        else:
            self._where = without_password(url)
            self._storage = _open_url(url)
        self._numbers: dict[str, int] = {}  # the storage's own, by study

    def trials(self, id: StudyId) -> list[FrozenTrial]:
        """The finished trials of a study, in their order."""
        try:
            number = self._storage.get_study_id_from_name(self._name(id))
        except KeyError:
            return []
        self._numbers[self._name(id)] = number
        return self._storage.get_all_trials(number, deepcopy=False)

    def add(self, id: StudyId, trial: FrozenTrial) -> None:
        """Add a finished trial; the first one creates the study, unless `trials` has found it.

        Raises InputError if another run of the same data and settings adds to the storage, and if writing
        fails.
        """
        name = self._name(id)
        try:
            if name not in self._numbers:
                self._numbers[name] = self._storage.create_new_study([StudyDirection.MAXIMIZE], name)
            elif self._contains(self._numbers[name], trial.number):
                raise DuplicatedStudyError
            self._storage.create_new_trial(self._numbers[name], template_trial=trial)
        except DuplicatedStudyError:
            raise InputError(
                "another run of the same data and settings is adding trials to this storage",
                where=self._where,
                do="wait for it, or give each run its own --storage",
            ) from None
        except StorageInternalError as error:
            reason = " ".join(str(error.__cause__ or error).partition("\n")[0].split())
            do = "repair it: finished trials are kept, and the same command resumes"
            raise InputError(
                f"cannot write to the Optuna storage ({reason})", where=self._where, do=do
            ) from error

    def _contains(self, study: int, number: int) -> bool:
        try:
            self._storage.get_trial_id_from_study_id_trial_number(study, number)
        except KeyError:
            return False
        return True

    def _name(self, id: StudyId) -> str:
        return f"{self._run}/{id}"


def _open_file(path: Path) -> BaseStorage:
    """The run's own SQLite file. Its path is in no URL, where ?, % and # would have a meaning."""
    do = "choose another folder for --out"
    if path.exists():
        do = "restore an intact copy, or delete it: its trials are then run again"
    connect = partial(sqlite3.connect, path, timeout=BUSY_SECONDS, check_same_thread=False)
    return _open(f"sqlite:///{STORAGE_FILE}", {"creator": connect}, where=str(path), do=do)


def _open_url(url: str) -> BaseStorage:
    where = without_password(url)
    options: dict[str, Any] = {}
    if url.startswith("sqlite"):
        options = {"connect_args": {"timeout": BUSY_SECONDS}}
        query = url.partition("?")[2]
        if query and ("/" in query or "=" not in query):
            raise InputError("a ? ends the path in a URL", where=where, do="choose a path without ?")
    do = "give sqlite:///FOLDER/FILE, in an existing folder, or install the server's driver"
    return _open(url, options, where=where, do=do)


def _open(url: str, options: dict[str, Any], *, where: str, do: str) -> BaseStorage:
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # SQLAlchemy's and the drivers' errors have no common base
        reason = " ".join(str(error).replace(url, where).partition("(Background on this error")[0].split())
        raise InputError(f"cannot open the Optuna storage ({reason})", where=where, do=do) from error


def without_password(url: str) -> str:
    """A storage's URL for messages and run.json."""
    return _SECRET_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def silence_optuna() -> None:
    """Switch off Optuna's log of every trial; `run_study` reports progress."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
