"""Intervals of layer weights over folds, against the formula by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from layerprobe.classify.data.splits import Fold, OuterFold
from layerprobe.classify.scores.layer_weights import mean_layer_weights
from layerprobe.classify.scores.results import StudyId, StudyResult


def result(fold: int, weights: list[float] | None, head: str = "weights") -> StudyResult:
    details = {} if weights is None else {"layer_weights": weights}
    none = np.empty(0)
    return StudyResult(
        id=StudyId(fold, "mix", head), params={}, inner_score=0.5, predicted=none, probability=none, trials=1,
        pruned=0, details=details,
    )  # fmt: skip


def folds(count: int) -> list[OuterFold]:
    """With 30 training and 10 test clips."""
    return [OuterFold(Fold(np.arange(30), np.arange(30, 40)), ()) for _ in range(count)]


def test_the_interval_is_that_of_the_corrected_resampled_t() -> None:
    weights = [[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.4, 0.4, 0.2], [0.6, 0.2, 0.2]]
    results = {one.id: one for one in (result(fold, row) for fold, row in enumerate(weights))}
    results |= {other.id: other for other in (result(fold, None, "svm") for fold in range(4))}
    found = mean_layer_weights(results, folds(4), layers=("a", "b", "c"))
    assert found is not None
    assert found["head"] == "weights"
    half = student.ppf(0.975, 3) * np.sqrt((1 / 4 + 10 / 30) * np.var(np.array(weights), axis=0, ddof=1))
    for k, entry in enumerate(found["layers"]):
        weight, mean = entry["weight"], np.mean([row[k] for row in weights])
        assert weight["value"] == pytest.approx(mean)
        assert weight["low"] == pytest.approx(max(mean - half[k], 0))
        assert weight["high"] == pytest.approx(min(mean + half[k], 1))


def test_one_fold_has_no_interval_and_other_heads_no_weights() -> None:
    one = result(0, [0.7, 0.3])
    found = mean_layer_weights({one.id: one}, folds(1), layers=("a", "b"))
    assert found is not None
    assert np.isnan(found["layers"][0]["weight"]["low"])
    none = result(0, None)
    assert mean_layer_weights({none.id: none}, folds(1), layers=("a", "b")) is None
