"""The benchmark of starting up at a small scale: it runs, and every figure is finite."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tests.run import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow


def test_each_measurement_prints_one_json_line(tmp_path):
    small = ["--clips", "30", "--study-clips", "129", "--study-model", "mfcc", "--rounds", "1"]
    command = [sys.executable, "benchmarks/bench_startup.py", *small, "--folder", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    results = {line["benchmark"]: line for line in map(json.loads, process.stdout.splitlines())}
    names = ("python", "import", "help", "help-classify", "first-trial", "cached")
    assert list(results) == [f"startup-{name}" for name in names]
    for line in results.values():
        assert line["machine"]
        assert line["rounds"] == 1
        assert 0 < line["seconds"] < math.inf
    assert (results["startup-first-trial"]["clips"], results["startup-cached"]["clips"]) == (129, 30)
    assert list(tmp_path.iterdir()) == []
