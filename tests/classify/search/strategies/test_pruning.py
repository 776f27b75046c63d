from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import MedianPruner, NopPruner

from layerprobe.classify.config import StudyConfig
from layerprobe.classify.search.strategies.pruning import (
    HalvingPruner,
    better_half,
    make_pruner,
    stalls,
)


def test_the_option_names_the_pruner() -> None:
    assert isinstance(make_pruner(StudyConfig(pruner="halving")), HalvingPruner)
    assert isinstance(make_pruner(StudyConfig()), MedianPruner)
    assert isinstance(make_pruner(StudyConfig(pruner="none")), NopPruner)


@given(scores=st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_a_trial_goes_on_if_it_is_in_the_best_half_of_those_before_it_and_itself(scores: list[int]) -> None:
    study = optuna.create_study(direction="maximize", pruner=HalvingPruner())
    for number, score in enumerate(scores):
        trial = study.ask()
        trial.report(score, 0)
        seen = scores[: number + 1]
        # Of equals, those before are ranked higher.
        rank = sum(other >= score for other in seen[:-1])
        goes_on = rank < math.ceil(len(seen) / 2)
        assert trial.should_prune() != goes_on
        study.tell(
            trial, score if goes_on else None, state=None if goes_on else optuna.trial.TrialState.PRUNED
        )


def test_the_first_trial_always_goes_on_and_each_fold_has_its_own_ranks() -> None:
    study = optuna.create_study(direction="maximize", pruner=HalvingPruner())
    first, second = study.ask(), study.ask()
    first.report(0.1, 0)
    assert not first.should_prune()
    second.report(0.2, 0)
    assert not second.should_prune()
    second.report(0.15, 1)  # of this fold the first
    assert not second.should_prune()
    third = study.ask()
    third.report(0.05, 0)
    assert third.should_prune()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.5], False),
        ([0.5, 0.4], False),
        ([0.5, 0.4, 0.4], True),
        ([0.5, 0.5, 0.5], True),
        ([0.5, 0.4, 0.6], False),
        ([0.5, 0.4, 0.6, 0.5], False),
        ([0.5, 0.4, 0.6, 0.5, 0.6], True),
    ],
)
def test_a_path_stalls_when_two_values_bring_nothing(scores: list[float], expected: bool) -> None:
    assert stalls(scores) == expected


def test_the_better_half_of_a_path_is_rising_and_takes_the_first_of_equals() -> None:
    assert better_half({1.0: 0.5, 3.0: 0.7, 10.0: 0.6}) == [3.0, 10.0]
    assert better_half({1.0: 0.5, 3.0: 0.5, 10.0: 0.5, 30.0: 0.5}) == [1.0, 3.0]
    assert better_half({12: 0.4}) == [12]
    rng = np.random.default_rng(0)
    scores = dict(zip(map(float, range(7)), rng.permutation(7) / 7, strict=True))
    assert better_half(scores) == sorted(sorted(scores, key=lambda v: -scores[v])[:4])
