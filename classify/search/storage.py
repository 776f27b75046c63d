"""The Optuna storage: every finished trial is in it before the next message is read."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import StudyId

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
        own = f"sqlite:///{(out / FILE).resolve()}"
        do = "give sqlite:///FOLDER/FILE, in a folder that is there, or install the server's driver"
        if url in (None, own) and (out / FILE).exists():
            do = "copy it back from where it is whole, or delete it: its trials are then made again"
        self._url = without_password(url or own)
        self._storage = _open(url or own, do=do)
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
        """Add a finished trial; the study is made with its first, unless `of` has found it.

        Raises InputError where another run of the same data and settings adds to the storage meanwhile, and
        where the storage takes no more.
        """
        name = self._name(id)
        try:
            if name not in self._numbers:
                self._numbers[name] = self._storage.create_new_study([StudyDirection.MAXIMIZE], name)
            elif self._holds(self._numbers[name], trial.number):
                raise DuplicatedStudyError
            self._storage.create_new_trial(self._numbers[name], template_trial=trial)
        except DuplicatedStudyError:
            raise InputError(
                "another run of the same data and settings is adding trials to this storage",
                where=self._url,
                do="let it end, or give each run a --storage of its own",
            ) from None
        except StorageInternalError as error:
            told = " ".join(str(error.__cause__ or error).partition("\n")[0].split())
            do = "give the same command again when it is mended: finished trials are kept"
            raise InputError(f"the Optuna storage takes no more ({told})", where=self._url, do=do) from error

    def _holds(self, study: int, number: int) -> bool:
        try:
            self._storage.get_trial_id_from_study_id_trial_number(study, number)
        except KeyError:
            return False
        return True

    def _name(self, id: StudyId) -> str:
        return f"{self._run}/{id}"


def _open(url: str, *, do: str) -> BaseStorage:
    options = {"connect_args": {"timeout": BUSY_SECONDS}} if url.startswith("sqlite") else None
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # SQLAlchemy's and each driver's own; none of them share a base
        told = " ".join(str(error).partition("(Background on this error")[0].split())
        raise InputError(
            f"cannot open the Optuna storage ({told})",
            where=without_password(url),
            do=do,
        ) from error


def without_password(url: str) -> str:
    """A storage's URL as it may be shown and kept."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)


def quiet() -> None:
    """Optuna's own log of every trial is replaced by the progress that `run_study` reports."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
