"""The decoding benchmark at a small scale: it runs, and every figure is finite."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tests.run import ROOT

pytestmark = pytest.mark.slow


def test_each_measurement_prints_one_json_line():
    command = [sys.executable, "benchmarks/bench_decode.py", "--seconds", "2"]
    command += ["--hours", "0.005", "--segments", "10"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    decode, segments = map(json.loads, process.stdout.splitlines())
    assert (decode["benchmark"], segments["benchmark"]) == ("decode", "segments")
    figures = [value for line in (decode, segments) for value in line.values() if isinstance(value, float)]
    assert len(figures) > 15
    assert all(map(math.isfinite, figures))
    assert decode["wav 48 kHz"] > 0
