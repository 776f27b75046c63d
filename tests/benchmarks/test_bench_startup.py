"""The benchmark of starting up at a small scale: it runs, and every figure is finite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import bench_startup
from tests.benchmarks.conftest import Run

pytestmark = pytest.mark.slow


def test_each_measurement_prints_one_json_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines_of: Run
) -> None:
    monkeypatch.setattr(bench_startup, "SETTLED", 0)  # no wait: files may be hashed again
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # no worker processes
    small = ("--clips", 30, "--study-clips", 129, "--study-model", "mfcc", "--rounds", 1)
    results = {line["benchmark"]: line for line in lines_of(bench_startup, *small, "--folder", tmp_path)}
    names = ("python", "import", "help", "help-classify", "first-trial", "cached")
    assert list(results) == [f"startup-{name}" for name in names]
    for line in results.values():
        assert line["machine"]
        assert line["rounds"] == 1
        assert 0 < line["seconds"] < math.inf
    assert (results["startup-first-trial"]["clips"], results["startup-cached"]["clips"]) == (129, 30)
    assert list(tmp_path.iterdir()) == []
