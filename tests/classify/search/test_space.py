from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.search.space import (
    at_edge,
    finite_space,
    first_untried,
    input_choices,
    planned_trials,
)

STATES: dict[str, Any] = {"stats": ("mean", "std"), "width": 768, "layers": 1}


def test_the_points_of_a_finite_space_are_all_combinations() -> None:
    choices = input_choices(HEADS["logreg"], **STATES, config=StudyConfig())
    points = finite_space(HEADS["logreg"], choices, layers=1)
    assert points is not None
    expected = product(("mean+std", "mean", "std"), ("standard", "l2"), (0, 64), ("none", "balanced"))
    assert {tuple(point.values()) for point in points} == set(expected)
    assert len(points) == 24


@pytest.mark.parametrize("head", ["svm", "xgboost"])
def test_a_space_with_a_range_is_not_finite(head: str) -> None:
    choices = input_choices(HEADS[head], **STATES, config=StudyConfig())
    assert finite_space(HEADS[head], choices, layers=1) is None
    assert planned_trials(HEADS[head], **STATES, config=StudyConfig(trials=40)) == 40


def test_planned_trials_are_no_more_than_there_are_points() -> None:
    for trials, planned in ((5, 5), (24, 24), (30, 24)):
        assert planned_trials(HEADS["ridge"], **STATES, config=StudyConfig(trials=trials)) == planned


def test_untried_points_have_an_order_of_their_own() -> None:
    points = [{"k": k} for k in range(9)]

    def walk(seed: int) -> list[dict[str, int]]:
        tried: list[dict[str, int]] = []
        while (point := first_untried(points, tried, seed=seed)) is not None:
            tried.append(point)
        return tried

    assert sorted(point["k"] for point in walk(0)) == list(range(9))
    assert walk(0) == walk(0) != walk(1)


def test_values_at_the_end_of_their_range_are_named() -> None:
    assert at_edge(HEADS["logreg"], {"C": 300.0, "class_weight": "none"}) == {"C": "largest"}
    assert at_edge(HEADS["logreg"], {"C": 3.0}) == {}
    both = {"C": "largest", "gamma": "smallest"}
    assert at_edge(HEADS["svm"], {"kernel": "rbf", "C": 99.0, "gamma": 0.1}) == both
    assert at_edge(HEADS["svm"], {"kernel": "linear", "C": 10.0}) == {}
    assert at_edge(HEADS["xgboost"], {"max_depth": 4, "rounds": 50}) == {"max_depth": "largest"}
    assert at_edge(HEADS["majority"], {}) == {}
