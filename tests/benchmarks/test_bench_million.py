"""The benchmark of a million clips with few of them: every step runs, and every figure is finite."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tests.run import ROOT

pytestmark = pytest.mark.slow
STEPS = ["make", "digests", "plan", "missing", "layer", "logreg", "svm", "xgboost"]


def test_each_step_prints_one_json_line_for_each_size(tmp_path):
    command = [sys.executable, "benchmarks/bench_million.py", "--clips", "1000,2000", "--work", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = list(map(json.loads, process.stdout.splitlines()))
    assert [(line["clips"], line["step"]) for line in lines] == [
        (clips, step) for clips in (1000, 2000) for step in STEPS
    ]
    for line in lines:
        assert line["benchmark"] == "million"
        assert line["machine"]
        for name in ("wall_s", "cpu_s", "peak_mb", "growth", "cpu_growth"):
            assert math.isfinite(line[name])
            assert line[name] > 0
        assert line["growth"] == 1 or line["clips"] == 2000
    assert min(line["accuracy"] for line in lines if "accuracy" in line) > 0.4  # four classes
    assert list(tmp_path.iterdir()) == []
