"""Benchmarks run in the process of the tests, which has imported what they need."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def lines_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the `main` of a benchmark with the given words; its JSON lines."""

    def run(benchmark: ModuleType, *words: object) -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", [str(benchmark.__file__), *map(str, words)])
        threads = torch.get_num_threads()
        benchmark.main()
        torch.set_num_threads(threads)
        return list(map(json.loads, capsys.readouterr().out.splitlines()))

    return run
