"""Threads for decoding, as many as make it faster.

What Python does of the work, only one thread can do at a time: with too many, they wait for each other.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

from layerprobe.embed.audio.sound import DecoderThreads

FIRST = 2  # threads at the beginning
GAIN = 1.2  # by which twice as many threads have to be faster
RESULTS = 4  # for each thread, between two decisions

P = ParamSpec("P")
T = TypeVar("T")


class DecoderPool:
    """A pool of threads that grows while its user waits for it and more threads make it faster.

    A context manager. count: how many work at a time.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """most: threads at most, but no more than cores."""
        self._most = max(1, min(most, os.cpu_count() or 1))
        self.count = min(FIRST, self._most)
        self._threads = DecoderThreads(self._most)
        self._changed = threading.Condition()
        self._submitted = self._begun = self._running = 0
        self._clock = clock
        self._settled = self.count == self._most
        self._best = 0.0  # results a second of the last number of threads
        self._waited = False
        self._begin()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread do some work. It is begun in the order of submission, which others may wait for."""
        self._submitted += 1
        return self._threads.submit(self._run, self._submitted, partial(work, *args, **kwargs))

    def result(self, future: Future[T]) -> T:
        """The result of submitted work, in the order of submission."""
        self._waited = self._waited or not future.done()
        value = future.result()
        self._results += 1
        if not self._settled and self._results >= RESULTS * self.count:
            self._decide()
        return value

    def _run(self, number: int, work: Callable[[], T]) -> T:
        with self._changed:
            self._changed.wait_for(lambda: number == self._begun + 1 and self._running < self.count)
            self._begun = number
            self._running += 1
            self._changed.notify_all()
        try:
            return work()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _decide(self) -> None:
        """Double the threads, or go back to half as many for good."""
        rate = self._results / max(self._clock() - self._began, 1e-9)
        waited = self._waited
        self._begin()
        if not waited:
            return  # decoding is fast enough, and its speed is that of its user
        with self._changed:
            if rate < GAIN * self._best:
                self.count, self._settled = max(FIRST, self.count // 2), True
            elif self.count == self._most:
                self._settled = True
            else:
                self._best, self.count = rate, min(2 * self.count, self._most)
            self._changed.notify_all()

    def _begin(self) -> None:
        self._began, self._results, self._waited = self._clock(), 0, False
