"""The store benchmark at a small scale: it runs, and every figure is finite."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tests.run import ROOT

pytestmark = pytest.mark.slow


def test_each_measurement_prints_one_json_line(tmp_path):
    command = [sys.executable, "benchmarks/bench_store.py", "--scale", "0.003", "--folder", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    results = {line["benchmark"]: line for line in map(json.loads, process.stdout.splitlines())}
    assert list(results) == ["store-write", "store-open", "store-layer", "store-random", "store-readers"]
    for line in results.values():
        assert line["machine"]
        figures = [value for value in line.values() if isinstance(value, int | float)]
        assert len(figures) >= 3
        assert all(math.isfinite(value) and value >= 0 for value in figures)
    assert (results["store-open"]["shards"], results["store-open"]["clips"]) == (3, 3000)
    assert results["store-layer"]["clips"] == 300
    assert list(tmp_path.iterdir()) == []
