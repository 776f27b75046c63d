"""Whole studies by real processes on a real PostgreSQL server, against the files of a single process."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import joblib
import pytest
from joblib.parallel import ThreadingBackend
from optuna.trial import FrozenTrial, TrialState

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.search import layer_figure
from layerprobe.classify.search.progress import Progress
from layerprobe.classify.search.sharing import run
from layerprobe.classify.search.sharing.requests import Request
from layerprobe.classify.search.sharing.server import open_server
from layerprobe.classify.search.study import run_study
from layerprobe.embed.manifest.clips import Clip
from tests.postgres import PASSWORD, Postgres
from tests.run import ROOT, Command, fork_server

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("sharing_study.py")
CONFIG = StudyConfig(folds=2, inner_folds=2, trials=2, jobs=1, layers=("1",), heads=("logreg", "ridge"))
STUDIES, TRIALS = 2 * 2, 2
SERVER, PROCESSES = (f"layerprobe.classify.search.sharing.{name}" for name in ("server", "processes"))
QUICK = {f"{SERVER}.HEARTBEAT_SECONDS": 1, f"{SERVER}.GRACE_SECONDS": 2}
ELSEWHERE = {**QUICK, f"{PROCESSES}.MACHINE": "another one"}
Start = Callable[..., Command]
Stored = dict[str, list[FrozenTrial]]
FILES = ("splits.json", "results.csv", "predictions.csv", "summary.json")


@pytest.fixture(scope="module", autouse=True)
def without_figures() -> Iterator[None]:
    """They would take most of the time of these small studies; sharing_study.py omits them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_figure, "draw_layers", lambda *_: None)
        yield


def same(one: Path, two: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(corpus: tuple[list[Clip], FeatureStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study by one process, in an SQLite file."""
    return run_study(*corpus, tmp_path_factory.mktemp("whole") / "run", CONFIG)


@pytest.fixture
def start(corpus: tuple[list[Clip], FeatureStore], database: str, tmp_path: Path) -> Start:
    """Starts a process `name` of the study, which pauses after its first trial unless `pause` is false."""

    def start_process(
        name: str, *, pause: bool, config: StudyConfig = CONFIG, settings: dict[str, object] | None = None
    ) -> Command:
        signals = tmp_path / f"{name}-signals"
        signals.mkdir()
        if not pause:
            (signals / "go").touch()
        source = tmp_path / f"{name}.pickle"
        source.write_bytes(pickle.dumps((*corpus, tmp_path / name, replace(config, storage=database))))
        command = fork_server().start(
            [source, signals], ROOT, script=SCRIPT, environment={"PGPASSWORD": PASSWORD},
            settings=settings or {},
        )  # fmt: skip
        if pause:
            wait_for(signals / "began")
        return command

    return start_process


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.02)


def finished(command: Command) -> None:
    done = command.finish()
    assert done.returncode == 0, done.stderr


def stored(url: str) -> Stored:
    """The trials of each Optuna study, by its name without the run's."""
    storage = open_server(url)
    studies = storage.get_all_studies()
    return {s.study_name.partition("/")[2]: storage.get_all_trials(s._study_id) for s in studies}


def ran(held: Stored) -> list[tuple[TrialState, float | None]]:
    """Of each process, in the order of their start, how it ended and how many trials it ran."""
    return [(trial.state, trial.values[0] if trial.values else None) for trial in held["processes"]]


def trials_of_studies(held: Stored) -> Counter[str]:
    return Counter({n: len(t) for n, t in held.items() if n not in ("processes", "claims")})


def test_a_process_runs_what_others_do_not_and_waits_for_them(
    start: Start, whole: Path, database: str, tmp_path: Path
) -> None:
    first = start("first", pause=True)
    second = start("second", pause=False)
    wait_for(tmp_path / "second-signals" / "waits")  # all but what the first one holds is done
    (tmp_path / "first-signals" / "go").touch()
    finished(first)
    finished(second)
    trials = stored(database)
    assert ran(trials) == [
        (TrialState.COMPLETE, TRIALS), (TrialState.COMPLETE, TRIALS * (STUDIES - 1))
    ]  # fmt: skip
    assert set(trials_of_studies(trials).values()) == {TRIALS}
    assert len(trials_of_studies(trials)) == STUDIES
    for name in ("first", "second"):
        same(whole, tmp_path / name)


@pytest.mark.parametrize("settings", [{}, ELSEWHERE], ids=["on this machine", "elsewhere"])
def test_what_a_killed_process_held_is_taken_up(
    start: Start, whole: Path, database: str, tmp_path: Path, settings: dict[str, object]
) -> None:
    first = start("first", pause=True, settings=settings)
    first.kill()
    assert first.finish().returncode == -signal.SIGKILL
    second = start("second", pause=False, settings=QUICK)
    finished(second)
    trials = stored(database)
    assert ran(trials) == [(TrialState.FAIL, None), (TrialState.COMPLETE, TRIALS * STUDIES - 1)]
    assert set(trials_of_studies(trials).values()) == {TRIALS}
    same(whole, tmp_path / "second")
    if settings:
        return
    # The same command goes on with the killed one's folder: every trial is there.
    (tmp_path / "first-signals").rename(tmp_path / "old-signals")
    finished(start("first", pause=False))
    assert ran(stored(database))[-1] == (TrialState.COMPLETE, 0.0)
    same(whole, tmp_path / "first")


def test_a_suspended_process_that_goes_on_changes_nothing(
    start: Start, whole: Path, database: str, tmp_path: Path
) -> None:
    first = start("first", pause=True, settings=QUICK)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        finished(start("second", pause=False, settings=QUICK))
        (tmp_path / "first-signals" / "go").touch()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    finished(first)
    assert set(trials_of_studies(stored(database)).values()) == {TRIALS}
    for name in ("first", "second"):
        same(whole, tmp_path / name)


def test_two_rounds_of_halving(
    start: Start, corpus: tuple[list[Clip], FeatureStore], database: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, pruner="halving", trials=11, layers=("0", "1", "2", "3"), heads=("logreg",))
    alone = run_study(*corpus, tmp_path / "alone", config)
    both = [start(name, pause=False, config=config) for name in ("first", "second")]
    for command in both:
        finished(command)
    for name in ("first", "second"):
        same(alone, tmp_path / name)
    trials = stored(database)
    assert trials_of_studies(trials).total() == 2 * (4 * 10 + 3 * 1)  # three of four layers go on
    assert sum(count or 0 for _, count in ran(trials)) == trials_of_studies(trials).total()


def test_a_server_that_goes_away_ends_a_run_in_one_line_and_it_resumes(
    corpus: tuple[list[Clip], FeatureStore], whole: Path, database: str, postgres: Postgres, tmp_path: Path
) -> None:
    config, held = replace(CONFIG, storage=database), 3

    def report(now: Progress) -> None:
        if now.done == held:
            postgres.stop()

    with pytest.raises(InputError, match="cannot read or write the Optuna storage") as error:
        run_study(*corpus, tmp_path / "run", config, report=report)
    line = error.value.line()
    assert "\n" not in line
    assert "Connection refused" in line
    assert "SQL" not in line.partition(": cannot")[2]
    assert line.endswith("repair it: finished trials are kept, and the same command resumes")
    postgres.start()
    assert trials_of_studies(stored(database)).total() == held
    run_study(*corpus, tmp_path / "run", config)
    trials = stored(database)
    assert trials_of_studies(trials).total() == TRIALS * STUDIES
    assert ran(trials)[-1] == (TrialState.COMPLETE, TRIALS * STUDIES - held)
    same(whole, tmp_path / "run")


def test_a_time_limit_of_one_process_ends_its_studies_for_all(
    corpus: tuple[list[Clip], FeatureStore], database: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, storage=database, timeout=1e-6)
    for name in ("first", "second"):
        run_study(*corpus, tmp_path / name, config)
    assert set(trials_of_studies(stored(database)).values()) == {1}
    same(tmp_path / "first", tmp_path / "second")


class Elsewhere(ThreadingBackend):
    """Threads, taken for workers on other machines."""


def test_workers_on_a_cluster_get_their_studies_in_advance(
    start: Start,
    corpus: tuple[list[Clip], FeatureStore],
    whole: Path,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joblib.register_parallel_backend("elsewhere", Elsewhere)
    monkeypatch.setattr(run, "UNITS_PER_WORKER", 1)  # several passes
    monkeypatch.setattr(Request, "grant", lambda *_: pytest.fail("a worker asked"))
    other = start("other", pause=True)
    (tmp_path / "other-signals" / "go").touch()
    with joblib.parallel_config(backend="elsewhere"):
        run_study(*corpus, tmp_path / "run", replace(CONFIG, storage=database, jobs=2))
    finished(other)
    trials = stored(database)
    assert set(trials_of_studies(trials).values()) == {TRIALS}
    assert sum(count or 0 for _, count in ran(trials)) == TRIALS * STUDIES
    for name in ("run", "other"):
        same(whole, tmp_path / name)


def test_two_processes_do_not_write_one_folder(
    corpus: tuple[list[Clip], FeatureStore], database: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, storage=database)

    def report(now: Progress) -> None:
        with pytest.raises(InputError, match="another process is working on this run; give this process its"):
            run_study(*corpus, tmp_path / "run", config)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(*corpus, tmp_path / "run", config, report=report)
