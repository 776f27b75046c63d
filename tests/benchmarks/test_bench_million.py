"""The benchmark of a million clips with few of them: every step runs, and every figure is finite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import bench_million
from tests.benchmarks.conftest import Run

pytestmark = pytest.mark.slow
STEPS = ["make", "digests", "plan", "missing", "layer", "logreg", "svm", "xgboost"]


def test_every_step_is_measured(tmp_path: Path) -> None:
    assert list(bench_million.STEPS) == STEPS
    figures = {step: bench_million.measure(step, tmp_path, 1000) for step in STEPS}
    for measured in figures.values():
        assert all(math.isfinite(value) and value > 0 for value in measured.values())
    for head in STEPS[-3:]:
        assert figures[head]["accuracy"] > 0.4  # four classes


def test_each_step_prints_one_json_line_for_each_size(tmp_path: Path, lines_of: Run) -> None:
    lines = lines_of(bench_million, "--clips", "300,600", "--work", tmp_path, "--steps", "missing")
    assert [(line["clips"], line["step"]) for line in lines] == [
        (clips, step) for clips in (300, 600) for step in ("make", "missing")
    ]
    for line in lines:
        assert line["benchmark"] == "million"
        assert line["machine"]
        for name in ("wall_s", "cpu_s", "peak_mb", "growth", "cpu_growth"):
            assert math.isfinite(line[name])
            assert line[name] > 0
        assert line["growth"] == 1 or line["clips"] == 600
    assert list(tmp_path.iterdir()) == []
