from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.trial import TrialState

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.search.sharing import processes as module
from layerprobe.classify.search.sharing.processes import Processes

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], BaseStorage]:
    """Opens the same storage again and again, as processes do. An SQLite file has heartbeats too."""

    def open_storage() -> BaseStorage:
        url = f"sqlite:///{tmp_path / 'shared.db'}"
        return get_storage(RDBStorage(url, heartbeat_interval=10, grace_period=60))

    return open_storage


@pytest.fixture
def always_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.server, "HEARTBEAT_SECONDS", 0.0)


def let_time_pass(folder: Path) -> None:
    """Make all heartbeats an hour older."""
    with sqlite3.connect(folder / "shared.db") as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")


def states(storage: BaseStorage) -> list[TrialState]:
    study = storage.get_study_id_from_name("run/processes")
    return [trial.state for trial in storage.get_all_trials(study)]


def test_processes_see_one_another_until_they_end(
    opened: Callable[[], BaseStorage], capsys: pytest.CaptureFixture[str]
) -> None:
    with Processes(opened(), run="run") as one:
        assert set(one.living()) == {one.number} == {0}
        assert capsys.readouterr().err == ""
        with Processes(opened(), run="run") as two:
            assert set(one.living()) == set(two.living()) == {0, 1}
            assert "note: the search is shared with another process (" in capsys.readouterr().err
            two.trials = 7
        assert set(one.living()) == {0}
        with suppress(KeyboardInterrupt), Processes(opened(), run="run") as three:
            assert three.number == 2
            raise KeyboardInterrupt
    assert states(opened()) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    study = optuna.load_study(study_name="run/processes", storage=opened())
    assert [trial.value for trial in study.trials] == [0.0, 7.0, None]
    assert study.best_value == 7.0  # as Optuna's tools read it


def test_processes_of_another_run_are_others(opened: Callable[[], BaseStorage]) -> None:
    with Processes(opened(), run="one") as one, Processes(opened(), run="two") as two:
        assert (set(one.living()), set(two.living())) == ({0}, {0})


def test_a_process_without_a_heartbeat_counts_as_dead(
    opened: Callable[[], BaseStorage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Processes(opened(), run="run") as suspended:
        let_time_pass(tmp_path)
        with Processes(opened(), run="run") as two:
            assert set(two.living()) == {1}
            assert states(opened()) == [TrialState.FAIL, TrialState.RUNNING]
            # It goes on: as another process, since what it had claimed is no longer its own.
            assert set(suspended.living()) == {1, 2}
            assert suspended.number == 2
    assert states(opened()) == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_process_of_this_machine_that_is_gone_is_dead_at_once(
    opened: Callable[[], BaseStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "getpid", lambda: ended.pid)
        Processes(opened(), run="run").__enter__()._stop.set()
        patch.setattr(module, "MACHINE", "another one")
        Processes(opened(), run="run").__enter__()._stop.set()
    with Processes(opened(), run="run") as three:
        assert set(three.living()) == {1, 2}  # whether the other machine's lives is not known
    assert states(opened())[0] == TrialState.FAIL


def test_the_heartbeat_goes_on(
    opened: Callable[[], BaseStorage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.server, "HEARTBEAT_SECONDS", 0.01)
    with Processes(opened(), run="run"):
        let_time_pass(tmp_path)
        with sqlite3.connect(tmp_path / "shared.db") as database:
            for _ in range(1000):
                (late,) = database.execute(
                    "SELECT heartbeat < datetime('now', '-1 minute') FROM trial_heartbeats"
                ).fetchone()
                if not late:
                    return
                module.time.sleep(0.01)
    raise AssertionError("no heartbeat")


def test_processes_with_other_packages_do_not_share_a_search(
    opened: Callable[[], BaseStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Processes(opened(), run="run"):
        monkeypatch.setattr(module, "version", lambda name: "0.0")
        with pytest.raises(InputError, match=r"has other versions: numpy \S+, here 0\.0; scipy") as error:
            Processes(opened(), run="run").__enter__()
    assert "; install the same on all machines: results depend on them" in error.value.line()
