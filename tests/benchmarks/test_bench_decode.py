"""The decoding benchmark at a small scale: it runs, and every figure is finite."""

from __future__ import annotations

import math

import pytest

from benchmarks import bench_decode
from tests.benchmarks.conftest import Run

pytestmark = pytest.mark.slow


def test_each_measurement_prints_one_json_line(lines_of: Run) -> None:
    decode, segments = lines_of(bench_decode, "--seconds", 2, "--hours", 0.005, "--segments", 10)
    assert (decode["benchmark"], segments["benchmark"]) == ("decode", "segments")
    figures = [value for line in (decode, segments) for value in line.values() if isinstance(value, float)]
    assert len(figures) > 15
    assert all(map(math.isfinite, figures))
    assert decode["wav 48 kHz"] > 0
