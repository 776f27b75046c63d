from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.trial import TrialState

from layerprobe.classify.scores.results import StudyId
from layerprobe.classify.search.sharing.claims import Claims
from layerprobe.classify.search.sharing.processes import Processes
from layerprobe.classify.search.sharing.server import open_server
from layerprobe.classify.search.storage import silence_optuna

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
ONE, TWO = StudyId(0, "3", "svm"), StudyId(1, "3", "svm")
Start = Callable[[], tuple[Processes, Claims]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes of one run, each with a storage that it opened itself; all end with the test."""
    silence_optuna()
    with ExitStack() as running:

        def start_process() -> tuple[Processes, Claims]:
            return process_on(get_storage(RDBStorage(url, heartbeat_interval=10, grace_period=60)), running)

        url = f"sqlite:///{tmp_path / 'shared.db'}"
        yield start_process


def process_on(storage: BaseStorage, running: ExitStack) -> tuple[Processes, Claims]:
    processes = running.enter_context(Processes(storage, run="run"))
    return processes, Claims(storage, processes, run="run")


def test_a_study_has_one_holder_until_it_is_complete(start: Start) -> None:
    (_, one), (_, two) = start(), start()
    assert one.take(ONE, end=4)
    assert not two.take(ONE, end=4)
    assert two.take(TWO, end=4)
    one.refresh()
    assert [one.is_elsewhere(id, end=4) for id in (ONE, TWO)] == [False, True]
    assert [two.is_elsewhere(id, end=4) for id in (ONE, TWO)] == [True, False]
    assert (one.holder(ONE, end=4), one.holder(TWO, end=4)) == (0, 1)
    one.complete(ONE, end=4, trials=4)
    two.complete(ONE, end=4, trials=9)  # not its own
    two.refresh()
    assert two.completed(ONE, end=4) == 4
    assert two.completed(TWO, end=4) is None
    assert not two.is_elsewhere(ONE, end=4)


def test_each_round_of_a_search_is_claimed_for_itself(start: Start) -> None:
    (_, one), (_, two) = start(), start()
    assert one.take(ONE, end=4)
    assert two.take(ONE, end=12)
    one.complete(ONE, end=4, trials=4)
    one.refresh()
    assert (one.completed(ONE, end=4), one.completed(ONE, end=12)) == (4, None)
    assert one.is_elsewhere(ONE, end=12)


def test_what_a_process_held_is_free_once_it_has_ended(start: Start) -> None:
    (first, one), (_, two) = start(), start()
    assert one.take(ONE, end=4)
    assert not two.take(ONE, end=4)
    first.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    two.refresh()
    assert two.holder(ONE, end=4) is None
    assert two.take(ONE, end=4)
    one.complete(ONE, end=4, trials=4)  # it was suspended, and all its trials are stored
    two.refresh()
    assert two.completed(ONE, end=4) == 4


def test_optuna_reads_the_claims(start: Start, tmp_path: Path) -> None:
    _, one = start()
    one.take(ONE, end=4)
    one.complete(ONE, end=4, trials=4)
    one.take(TWO, end=4)
    study = optuna.load_study(study_name="run/claims", storage=f"sqlite:///{tmp_path / 'shared.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert study.best_trial.user_attrs == {"study": "0/3/svm", "trials": 4, "process": 0}


def test_of_processes_that_claim_at_the_same_time_one_succeeds(database: str) -> None:
    silence_optuna()
    ids = [StudyId(fold, "0", "svm") for fold in range(6)]
    with ExitStack() as running, ThreadPoolExecutor(4) as pool:
        processes = [process_on(open_server(database), running) for _ in range(4)]
        taken = list(pool.map(lambda one: [one[1].take(id, end=4) for id in ids], processes))
    assert [sum(column) for column in zip(*taken, strict=True)] == [1] * len(ids)
