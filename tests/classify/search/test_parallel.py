from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.classify.search.parallel import WORKER_ENVIRONMENT, job_count, run_parallel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def count(to: int) -> Iterator[tuple[int, int, int]]:
    for number in range(to):
        yield to, number, os.getpid()


def threads(unit: int) -> Iterator[tuple[int, dict[str, str | None]]]:
    import numpy  # noqa: F401

    environment = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    yield max(pool["num_threads"] for pool in threadpool_info()), environment


def total(unit: np.ndarray) -> Iterator[tuple[float, bool]]:
    yield float(unit.sum()), isinstance(unit, np.memmap)


def refuse(unit: int) -> Iterator[int]:
    yield unit
    raise InputError(f"unit {unit}", do="nothing")


def die(unit: int) -> Iterator[int]:
    yield unit
    os.kill(os.getpid(), signal.SIGKILL)


def never_ends(folder: str) -> Iterator[float]:
    (Path(folder) / f"{os.getpid()}").touch()
    while True:
        time.sleep(0.02)
        yield time.time()


def waits_for_its_message(folder: str) -> Iterator[str]:
    """Ends once the main process has received the first message."""
    yield folder
    while not (Path(folder) / "received").exists():
        time.sleep(0.01)
    yield folder


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_message_of_every_unit_arrives_in_order(jobs: int) -> None:
    messages = list(run_parallel(count, [3, 0, 2, 4], jobs=jobs))
    assert sorted((to, n) for to, n, _ in messages) == [(to, n) for to in (2, 3, 4) for n in range(to)]
    for to in (2, 3, 4):
        assert [n for t, n, _ in messages if t == to] == list(range(to))
    assert {pid == os.getpid() for _, _, pid in messages} == {jobs == 1}


@pytest.mark.parametrize(("backend", "in_this_process"), [("threading", True), ("multiprocessing", False)])
def test_a_backend_configured_outside_runs_the_units(backend: str, in_this_process: bool) -> None:
    with joblib.parallel_config(backend=backend):
        messages = list(run_parallel(count, [3, 2, 4], jobs=2))
        with pytest.raises(InputError, match="unit 7; nothing"):
            list(run_parallel(refuse, [7, 7], jobs=2))
    assert sorted(n for _, n, _ in messages) == [0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert {pid == os.getpid() for _, _, pid in messages} == {in_this_process}


def test_messages_arrive_while_their_unit_runs(tmp_path: Path) -> None:
    messages = run_parallel(waits_for_its_message, [str(tmp_path)] * 2, jobs=2)
    next(messages)
    (tmp_path / "received").touch()
    assert len(list(messages)) == 3


def test_each_worker_has_one_thread_and_its_environment() -> None:
    before = dict(os.environ)
    for number, environment in run_parallel(threads, [0, 1], jobs=2):
        assert number == 1
        assert environment == WORKER_ENVIRONMENT
    assert dict(os.environ) == before


def test_large_arrays_are_memory_mapped() -> None:
    units = [np.full(1 << 18, number, np.float64) for number in (1, 2)]  # 2 MiB
    messages = sorted(run_parallel(total, units, jobs=2))
    assert messages == [(float(1 << 18), True), (float(1 << 19), True)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exception_in_a_worker_is_raised_here(jobs: int) -> None:
    with pytest.raises(InputError, match="unit 7; nothing") as caught:
        list(run_parallel(refuse, [7, 7], jobs=jobs))
    if jobs > 1:
        assert "in refuse" in str(caught.value.__cause__)


def test_a_killed_worker_ends_the_run_and_its_messages_arrive() -> None:
    received = []
    with pytest.raises(WorkerKilledError, match="a worker process was killed"):  # noqa: PT012
        for message in run_parallel(die, [1, 2, 3], jobs=2):
            received.append(message)
    assert received
    assert list(run_parallel(count, [1, 1], jobs=2))  # workers can be started again


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_end_when_the_reader_stops(tmp_path: Path, backend: str) -> None:
    with joblib.parallel_config(backend=backend):
        messages = run_parallel(never_ends, [str(tmp_path)] * 2, jobs=2)
        next(messages)
        messages.close()
    for path in tmp_path.iterdir():
        assert int(path.name) == os.getpid() or not is_alive(int(path.name))


def start(folder: Path, *, imports: str = "") -> subprocess.Popen[str]:
    """A process in a group of its own whose two workers never end."""
    script = folder / "program.py"
    script.write_text(
        f"{imports}\n"
        "from tests.classify.search.test_parallel import never_ends\n"
        "from layerprobe.classify.search.parallel import run_parallel\n"
        "if __name__ == '__main__':\n"
        "    print('started', flush=True)\n"
        "    try:\n"
        f"        for _ in run_parallel(never_ends, [{str(folder / 'work')!r}] * 2, jobs=2):\n"
        "            pass\n"
        "    except KeyboardInterrupt:\n"
        "        print('stopped', flush=True)\n"
    )
    (folder / "work").mkdir()
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


@pytest.mark.parametrize("delay", [None, 0.0, 0.3])
def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path, delay: float | None) -> None:
    """While workers run (None), or so many seconds after they are started, while they import."""
    with start(tmp_path) as parent:
        wait(parent, tmp_path, delay)
        assert (
            delay is not None or len(processes_of(parent.pid)) >= 4
        )  # itself, two workers, the resource tracker
        parent.kill()
    until = time.monotonic() + 30
    while alive := processes_of(parent.pid):
        assert time.monotonic() < until, alive
        time.sleep(0.05)


@pytest.mark.parametrize("delay", [None, 0.0, 0.1, 0.3])
def test_ctrl_c_ends_all_processes_without_a_word(tmp_path: Path, delay: float | None) -> None:
    with start(tmp_path) as parent:
        wait(parent, tmp_path, delay)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=60)
    assert (out.split(), err) == (["stopped"], "")
    until = time.monotonic() + 30
    while alive := processes_of(parent.pid):
        assert time.monotonic() < until, alive
        time.sleep(0.05)


def wait(parent: subprocess.Popen[str], folder: Path, delay: float | None) -> None:
    assert parent.stdout is not None
    parent.stdout.readline()
    if delay is not None:
        time.sleep(delay)
        return
    while len(list((folder / "work").iterdir())) < 2:
        time.sleep(0.01)


def processes_of(session: int) -> list[str]:
    """Command lines of the living processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if int(of) == session and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_job_count_follows_the_cores() -> None:
    cores = joblib.cpu_count()
    assert job_count(3) == 3
    assert job_count(-1) == cores
    assert job_count(-1000) == 1
