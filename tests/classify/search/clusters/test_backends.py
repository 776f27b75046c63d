"""Units of a search on a real Dask or Ray cluster of two workers, some of which are killed."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError, StoreError, WorkerKilledError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.search.clusters import BackendName
from layerprobe.classify.search.clusters.connect import workers_of
from layerprobe.classify.search.parallel import job_count, run_parallel
from layerprobe.classify.search.strategies import rounds
from layerprobe.classify.search.study import run_study
from layerprobe.classify.search.units import Unit, run_unit
from layerprobe.embed.distributed import engines
from layerprobe.embed.manifest.clips import Clip
from tests.run import ROOT
from tests.studies import made_clips, made_store

pytestmark = pytest.mark.slow

SAME = ("splits.json", "results.csv", "predictions.csv", "summary.json")
CONFIG = StudyConfig(folds=2, inner_folds=2, trials=2, jobs=2, layers=("0", "1"), heads=("logreg", "svm"))
INTERRUPTED = Path(__file__).with_name("interrupted_study.py")
KILLED = "a-worker-was-killed"  # file in the cache


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request) -> Iterator[BackendName]:
    """A cluster of two workers, on which units run."""
    pytest.importorskip({"dask": "distributed"}.get(request.param, request.param))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # for the functions of this file
    with workers_of(request.param, jobs=2) as jobs:
        assert jobs == job_count(-1) == 2
        yield request.param
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[list[Clip], FeatureStore]:
    folder = tmp_path_factory.mktemp("study")
    clips = made_clips(folder / "corpus")
    return clips, made_store(folder / "cache", clips)


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory) -> Path:
    """The run folder of loky's workers."""
    clips, store = corpus
    with workers_of("loky", jobs=2):
        return run_study(clips, store, tmp_path_factory.mktemp("alone") / "run", CONFIG)


def count(to: int) -> Iterator[tuple[int, int, int]]:
    for number in range(to):
        yield to, number, os.getpid()


def refuse(unit: int) -> Iterator[int]:
    yield unit
    raise InputError(f"unit {unit}", do="nothing")


def divide(unit: int) -> Iterator[float]:
    yield 1 / unit


def die(unit: int) -> Iterator[int]:
    yield unit
    os.kill(os.getpid(), signal.SIGKILL)


def never_ends(folder: str) -> Iterator[float]:
    (Path(folder) / f"{os.getpid()}").touch()
    while True:
        time.sleep(0.02)
        (Path(folder) / f"{os.getpid()}").write_text(str(time.time()))
        yield time.time()


def killed_once(unit: Unit) -> Iterator[object]:
    """A unit of which the first one kills its worker after a trial."""
    for message in run_unit(unit):
        yield message
        mark = unit.plan.store.cache / KILLED
        if next(iter(unit.studies)).fold == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def count_keys(store: FeatureStore) -> Iterator[int]:
    yield len(store.keys())


def test_every_message_arrives_once_and_in_order_from_a_worker(cluster):
    messages = list(run_parallel(count, [3, 0, 2], jobs=2))
    assert sorted((to, n) for to, n, _ in messages) == [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    for to in (2, 3):
        assert [n for t, n, _ in messages if t == to] == list(range(to))
    assert os.getpid() not in {pid for _, _, pid in messages}
    ((_, _, pid),) = run_parallel(count, [1], jobs=1)
    assert pid != os.getpid()  # a single unit too
    assert list(run_parallel(count, [], jobs=2)) == []


def test_a_study_with_a_killed_worker_has_the_files_of_loky(cluster, corpus, alone, tmp_path, monkeypatch):
    clips, store = corpus
    (store.cache / KILLED).unlink(missing_ok=True)
    monkeypatch.setattr(rounds, "run_unit", killed_once)
    out = run_study(clips, store, tmp_path / "run", CONFIG)
    assert (store.cache / KILLED).exists()
    for name in SAME:
        assert (out / name).read_bytes() == (alone / name).read_bytes(), name


def test_an_error_of_a_unit_is_raised_here(cluster, capfd):
    with pytest.raises(InputError, match=r"^unit 7; nothing$"):
        list(run_parallel(refuse, [7], jobs=2))
    with pytest.raises(ZeroDivisionError) as caught:
        list(run_parallel(divide, [0], jobs=2))
    assert "in divide" in caught.value.__notes__[0]
    assert "Traceback" not in capfd.readouterr().err


def test_a_cache_that_a_worker_cannot_see_is_one_line(cluster, corpus):
    clips, store = corpus
    descriptor = os.open(store.cache, os.O_RDONLY)  # a path that only this process has
    try:
        hidden = FeatureStore(Path(f"/proc/self/fd/{descriptor}") / store.folder.relative_to(store.cache))
        with pytest.raises(StoreError, match=r"a worker on \S+ cannot see the cache; give all workers"):
            list(run_parallel(count_keys, [hidden], jobs=2, shared=[hidden]))
    finally:
        os.close(descriptor)
    assert list(run_parallel(count_keys, [store], jobs=2, shared=[store])) == [len(clips)]


def test_units_end_when_the_reader_stops(cluster, tmp_path):
    messages = run_parallel(never_ends, [str(tmp_path)] * 2, jobs=2)
    next(messages)
    messages.close()
    files = list(tmp_path.iterdir())
    assert files
    until = time.monotonic() + 30
    while True:
        before = [file.read_text() for file in files]
        time.sleep(0.5)
        if before == [file.read_text() for file in files]:
            break
        assert time.monotonic() < until


def test_a_unit_that_kills_every_worker_ends_the_run_with_one_line(cluster):
    with pytest.raises(WorkerKilledError, match="has lost 3 workers"):
        list(run_parallel(die, [1], jobs=2))


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_ctrl_c_ends_a_search_with_one_line_and_loky_completes_it(corpus, tmp_path, backend):
    """In a terminal, which sends Ctrl-C to all processes."""
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    clips, store = corpus
    config = replace(CONFIG, trials=12, heads=("svm",))
    out = tmp_path / "run"
    (tmp_path / "input").write_bytes(pickle.dumps((clips, store, out, config)))
    program = [sys.executable, str(INTERRUPTED), str(tmp_path / "input"), backend]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    with subprocess.Popen(
        program,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while process.poll() is None and count_trials(out / "search.db") < 2:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=120)
    assert printed == f"stopped: finished trials are kept in {out}; the same command resumes\n"
    assert "Traceback" not in errors
    with workers_of("loky", jobs=1):
        run_study(clips, store, out, config)
        whole = run_study(clips, store, tmp_path / "whole", config)
    for name in SAME:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def count_trials(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM trials").fetchone()[0])
        except sqlite3.OperationalError:  # before the table is made
            return 0


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_package_that_is_not_installed(monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"--backend {backend} needs the package {package}; pip install 'layerprobe\[{backend}\]'"
    with pytest.raises(InputError, match=expected), workers_of(backend, jobs=2):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_a_scheduler_that_does_not_answer(monkeypatch, address):
    pytest.importorskip("distributed")  # its settings would go with the block below
    import dask

    settings = {"scheduler-address": address, "distributed.comm.timeouts.connect": "1s"}
    expected = f"the Dask scheduler {address} does not answer; start it, or unset DASK_SCHEDULER_ADDRESS"
    with dask.config.set(settings), pytest.raises(InputError, match=expected), engines.open_dask():
        pass


def test_a_scheduler_without_workers(monkeypatch):
    distributed = pytest.importorskip("distributed")
    import dask

    monkeypatch.setattr(engines, "WAIT_SECONDS", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty,
        dask.config.set({"scheduler-address": empty.scheduler_address}),
        pytest.raises(InputError, match=r"has no workers; start some, as with: dask worker tcp://"),
        engines.open_dask(),
    ):
        pass
