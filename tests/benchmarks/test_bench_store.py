"""The store benchmark at a small scale: it runs, and every figure is finite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import bench_store
from tests.benchmarks.conftest import Run

pytestmark = pytest.mark.slow


def test_each_measurement_prints_one_json_line(tmp_path: Path, lines_of: Run) -> None:
    lines = lines_of(bench_store, "--scale", 0.003, "--folder", tmp_path)
    results = {line["benchmark"]: line for line in lines}
    assert list(results) == ["store-write", "store-open", "store-layer", "store-random", "store-readers"]
    for line in results.values():
        assert line["machine"]
        figures = [value for value in line.values() if isinstance(value, int | float)]
        assert len(figures) >= 3
        assert all(math.isfinite(value) and value >= 0 for value in figures)
    assert (results["store-open"]["shards"], results["store-open"]["clips"]) == (3, 3000)
    assert results["store-layer"]["clips"] == 300
    assert list(tmp_path.iterdir()) == []
