"""The processes that share a run. Each records a heartbeat, by which the others know that it lives."""

from __future__ import annotations

import os
import socket
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.runs.run_record import PACKAGES
from layerprobe.classify.search.sharing import server

NAME = "processes"  # of the Optuna study with a trial for each process of a run


def _machine() -> str | None:
    """Whose process ids are meant: this machine since its start, or a container on it; None if unknown."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{started} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


MACHINE = _machine()


class Processes:
    """The living processes of a run, with this one among them while the context is open.

    Each is a trial of the Optuna study `RUN/processes`: running while it lives, at the end complete with the
    number of trials that it ran, or failed. Another process fails one that has no heartbeat for
    GRACE_SECONDS, or that ran on its own machine and is gone.
    """

    def __init__(self, storage: BaseStorage, *, run: str) -> None:
        self.number = -1  # of this process
        self.trials = 0  # that this process has run
        self._storage = storage
        self._study = optuna.create_study(
            storage=storage, study_name=f"{run}/{NAME}", direction="maximize", load_if_exists=True
        )
        self._trial = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._record_heartbeats, daemon=True)
        self._checked_at = -float("inf")

    def __enter__(self) -> Processes:
        others, versions = self.living(), _versions()
        for other in others.values():
            _check_versions(versions, other)
        if others:
            names = format_list([_name(other) for other in others.values()])
            what = "another process" if len(others) == 1 else f"{len(others)} other processes"
            say(f"note: the search is shared with {what} ({names})")
        self._register()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        state, values = TrialState.FAIL, None
        if kind is None:
            state, values = TrialState.COMPLETE, [float(self.trials)]
        with suppress(Exception):  # the server is gone, or another process took this one for dead
            self._storage.set_trial_state_values(self._trial, state, values)

    def living(self) -> Mapping[int, FrozenTrial]:
        """The trials of the processes that live, by their number. Registers this one again if need be.

        A process that was suspended for long has been failed by another.
        """
        if time.monotonic() - self._checked_at >= server.HEARTBEAT_SECONDS / 2:
            self._checked_at = time.monotonic()
            if self._trial != -1:
                self._beat()  # its thread may have waited for a busy processor
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
        living = self._read()
        if self._trial != -1 and self.number not in living:
            self._register()
            living = self._read()
        return living

    def _read(self) -> dict[int, FrozenTrial]:
        trials = self._storage.get_all_trials(
            self._study._study_id, deepcopy=False, states=(TrialState.RUNNING,)
        )
        living = {trial.number: trial for trial in trials}
        for number, trial in list(living.items()):
            if _is_gone(trial):
                with suppress(UpdateFinishedTrialError):  # another process was faster
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                del living[number]
        return living

    def _register(self) -> None:
        attributes = {
            "host": socket.gethostname(),
            "machine": MACHINE,
            "process": os.getpid(),
            "versions": _versions(),
        }
        trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
        self._trial = self._storage.create_new_trial(self._study._study_id, trial)
        self.number = self._storage.get_trial(self._trial).number
        self._beat()  # before it claims anything: without a heartbeat it would never count as dead

    def _beat(self) -> None:
        self._storage.record_heartbeat(self._trial)

    def _record_heartbeats(self) -> None:
        while not self._stop.wait(server.HEARTBEAT_SECONDS):
            try:
                self._beat()
            except Exception:  # the main thread meets the same error and reports it, unless it passes
                continue


def _is_gone(process: FrozenTrial) -> bool:
    """Whether a process ran on this machine and does not exist any more."""
    if MACHINE is None or process.user_attrs.get("machine") != MACHINE:
        return False
    return not Path(f"/proc/{process.user_attrs['process']}").exists()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def _check_versions(versions: Mapping[str, str], other: FrozenTrial) -> None:
    """Raise InputError for another process with packages whose results may differ."""
    theirs: Mapping[str, Any] = other.user_attrs.get("versions", {})
    differing = [
        f"{name} {theirs[name]}, here {own}" for name, own in versions.items() if theirs.get(name, own) != own
    ]
    if differing:
        raise InputError(
            f"another process of this run ({_name(other)}) has other versions: {'; '.join(differing)}",
            do="install the same on all machines: results depend on them",
        )


def _name(process: FrozenTrial) -> str:
    return f"{process.user_attrs.get('host')}:{process.user_attrs.get('process')}"
