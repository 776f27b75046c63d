from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.search.parallel import job_count, messages

ROOT = Path(__file__).resolve().parents[3]


def count(to: int) -> Iterator[tuple[int, int, int]]:
    for number in range(to):
        yield to, number, os.getpid()


def threads(unit: int) -> Iterator[int]:
    import numpy  # noqa: F401

    yield max(pool["num_threads"] for pool in threadpool_info())


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


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_message_of_every_unit_comes_in_its_order(jobs: int) -> None:
    got = list(messages(count, [3, 0, 2, 4], jobs=jobs))
    assert sorted((to, number) for to, number, _ in got) == [(to, n) for to in (2, 3, 4) for n in range(to)]
    for to in (2, 3, 4):
        assert [number for t, number, _ in got if t == to] == list(range(to))
    here = {pid == os.getpid() for _, _, pid in got}
    assert here == {jobs == 1}


def test_each_process_has_one_thread() -> None:
    assert set(messages(threads, [0, 1], jobs=2)) == {1}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_worker_is_raised_here_as_what_it_is(jobs: int) -> None:
    with pytest.raises(InputError, match="unit 7; nothing") as told:
        list(messages(refuse, [7, 7], jobs=jobs))
    if jobs > 1:
        assert "in refuse" in told.value.__notes__[0]


def test_a_worker_that_dies_is_told_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="exit code -9"):
        list(messages(die, [1, 2, 3], jobs=2))


def test_parallel_end_when_the_reader_stops(tmp_path: Path) -> None:
    stream = messages(never_ends, [str(tmp_path)] * 2, jobs=2)
    next(stream)
    stream.close()
    for path in tmp_path.iterdir():
        assert not is_alive(int(path.name))


def test_parallel_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    work, script = tmp_path / "work", tmp_path / "program.py"
    work.mkdir()
    script.write_text(
        "from tests.classify.search.test_parallel import never_ends\n"
        "from layerprobe.classify.search.parallel import messages\n"
        "if __name__ == '__main__':\n"
        f"    for _ in messages(never_ends, [{str(work)!r}] * 2, jobs=2):\n"
        "        print('on', flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        while len(list(work.iterdir())) < 2:
            parent.stdout.readline()
        parent.kill()
    until = time.monotonic() + 30
    while any(is_alive(int(path.name)) for path in work.iterdir()):
        assert time.monotonic() < until, "a worker outlives its parent"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_job_count_follows_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert job_count(3) == 3
    assert job_count(-1) == cores
    assert job_count(-1000) == 1
