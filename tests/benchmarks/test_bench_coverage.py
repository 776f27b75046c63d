"""The benchmark of coverage: simulated studies of every task, with a truth that intervals can miss."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bench_coverage
from layerprobe.classify.config import METRICS


@pytest.fixture(scope="module")
def truth() -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_coverage, "MANY", 3_000)
        return bench_coverage.population(list(bench_coverage.SIMULATIONS))


def test_every_score_of_every_simulated_task_has_a_truth(truth):
    simulations = bench_coverage.SIMULATIONS.items()
    expected = {f"{name}: {metric}" for name, (task, _) in simulations for metric in METRICS[task]}
    assert set(truth) == expected | {"r_squared"}
    assert truth["regression: ccc"] == pytest.approx(2 * 0.7 / (1 + 0.9), abs=0.02)
    assert truth["regression: rmse"] == pytest.approx(np.sqrt(0.09 + 0.16 + 0.25), abs=0.02)


@pytest.mark.parametrize("name", bench_coverage.SIMULATIONS)
def test_most_intervals_cover_the_truth_and_few_cover_another_value(name, truth):
    sizes = np.full(40, 10)
    shares = bench_coverage.coverage(name, sizes, truth=truth, studies=40, resamples=400)
    assert min(shares.values()) >= 0.8
    wrong = {score: value + 0.3 for score, value in truth.items()}
    missed = bench_coverage.coverage(name, sizes, truth=wrong, studies=5, resamples=400)
    assert all(missed[f"{name}: {metric}"] == 0 for metric in METRICS[bench_coverage.SIMULATIONS[name][0]])
