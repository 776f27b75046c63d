"""Fetching ahead: the order, the limits, and errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from layerprobe.cache.store.location.read_ahead import AHEAD, ReadAhead

NAMES = [str(number) for number in range(10)]


class Files:
    """Files that are fetched only once `gate` is open; what was asked for, in order."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []
        self.failing: dict[str, Exception] = {}

    def fetch(self, name: str) -> None:
        self.begun.append(name)
        self.gate.wait(10)
        if name in self.failing:
            raise self.failing[name]


@pytest.fixture
def files() -> Files:
    return Files()


def in_thread(call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def begun(files: Files, count: int) -> None:
    """Wait until so many transfers have begun; pytest's own timeout ends it otherwise."""
    while len(files.begun) < count:
        threading.Event().wait(0.002)


def test_the_next_files_are_fetched_while_one_is_waited_for(files):
    with ReadAhead(NAMES, files.fetch, sizes=[1] * 10, limit=100) as ahead:
        first = in_thread(lambda: ahead.wait("0"))
        begun(files, 1 + AHEAD)
        files.gate.set()
        first.join()
        assert sorted(files.begun) == NAMES[: 1 + AHEAD]
        for number, name in enumerate(NAMES[1:], start=1):
            ahead.wait(name)
            begun(files, min(number + 1 + AHEAD, 10))
    assert sorted(files.begun) == NAMES  # each once


def test_not_more_bytes_are_fetched_ahead_than_allowed(files):
    files.gate.set()
    with ReadAhead(NAMES, files.fetch, sizes=[50, 3, 3, 5, *[1] * 6], limit=6) as ahead:
        ahead.wait("0")  # large, and read all the same
        begun(files, 3)
        assert sorted(files.begun) == NAMES[:3]
        ahead.wait("1")  # 3 + 5 bytes would follow
        assert len(files.begun) == 3
        ahead.wait("2")
        begun(files, 5)
        assert sorted(files.begun) == NAMES[:5]


def test_the_error_of_a_file_is_raised_where_that_file_is_read(files):
    files.failing["2"] = FileNotFoundError("deleted")
    files.gate.set()
    with ReadAhead(NAMES, files.fetch, sizes=[1] * 10, limit=100) as ahead:
        ahead.wait("0")
        ahead.wait("1")
        with pytest.raises(FileNotFoundError, match="deleted"):
            ahead.wait("2")
        ahead.wait("3")


def test_what_has_not_begun_is_not_fetched_after_the_end(files):
    files.gate.set()
    with ReadAhead(NAMES, files.fetch, sizes=[1] * 10, limit=100) as ahead:
        ahead.wait("0")
    assert len(files.begun) <= 1 + AHEAD
