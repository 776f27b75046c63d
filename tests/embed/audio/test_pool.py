"""Threads for decoding: as many as make it faster, with a clock of the test's own."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from layerprobe.embed.audio.pool import FIRST, RESULTS, DecoderPool


class Machine:
    """Does one piece of work after the other, at a speed that depends on the number of threads."""

    def __init__(
        self, rates: dict[int, float], monkeypatch: pytest.MonkeyPatch, *, waits: bool = True
    ) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        self.now, self.rates, self.waits = 0.0, rates, waits

    def run(self, pool: DecoderPool, results: int) -> None:
        for _ in range(results):
            self.now += 1 / self.rates[pool.count]
            gate = threading.Event()
            future = pool.submit(gate.wait)
            if not self.waits:
                gate.set()
                future.result()
            else:
                threading.Timer(0.001, gate.set).start()
            pool.result(future)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({2: 10, 4: 19, 8: 36, 16: 70}, 16),
        ({2: 10, 4: 18, 8: 19}, 4),
        ({2: 10, 4: 9}, 2),
        ({2: 10, 4: 11}, 2),
    ],
    ids=["as fast as threads", "up to four", "slower", "hardly faster"],
)
def test_threads_are_doubled_while_that_is_faster(rates, expected, monkeypatch):
    machine = Machine(rates, monkeypatch)
    with DecoderPool(16, clock=lambda: machine.now) as pool:
        assert pool.count == FIRST
        machine.run(pool, RESULTS * sum(rates) + 1)
        assert pool.count == expected
        machine.run(pool, 2 * RESULTS * expected)  # for good
        assert pool.count == expected


def test_nothing_changes_while_nobody_waits(monkeypatch):
    machine = Machine({2: 10}, monkeypatch, waits=False)
    with DecoderPool(16, clock=lambda: machine.now) as pool:
        machine.run(pool, 8 * RESULTS)
        assert pool.count == FIRST


@pytest.mark.parametrize(("most", "cores", "expected"), [(16, 1, 1), (1, 8, 1), (2, 8, 2), (16, 2, 2)])
def test_no_more_threads_than_cores_or_than_allowed(most, cores, expected, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    with DecoderPool(most) as pool:
        assert pool.count == expected


def test_so_many_work_at_a_time_on_one_core_each(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    meeting, lock = threading.Barrier(2, timeout=60), threading.Lock()
    running, most, cores = 0, 0, set[int]()

    def work() -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meeting.wait()
        cores.add(torch.get_num_threads())
        with lock:
            running -= 1
        return running

    before = torch.get_num_threads()
    with DecoderPool(8) as pool:
        for future in [pool.submit(work) for _ in range(6)]:
            future.result()
    assert (most, cores, torch.get_num_threads()) == (FIRST, {1}, before)


def test_an_error_reaches_the_caller():
    def fail() -> None:
        raise ValueError("broken")

    with DecoderPool(2) as pool:
        future = pool.submit(fail)
        with pytest.raises(ValueError, match="broken"):
            pool.result(future)


def test_work_is_begun_in_the_order_of_submission(monkeypatch):
    """A window of a long clip waits for the one before it, which must not wait for a thread."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    done = [threading.Event() for _ in range(200)]

    def work(number: int) -> bool:
        before = number == 0 or done[number - 1].wait(60)
        done[number].set()
        return before

    with DecoderPool(16) as pool:
        assert all(pool.result(future) for future in [pool.submit(work, n) for n in range(200)])
