"""Paired tests against textbook tables, values by hand and independent definitions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from layerprobe.classify.scores.paired import corrected_t, differences, holm, near_best
from layerprobe.classify.tasks import confusion as metrics


def test_equal_systems_are_told_apart_in_few_simulations():
    """Two systems, equally good on average, each better for some speakers: a true null with clusters."""
    rng = np.random.default_rng(5)
    speakers, clips, simulations = 12, 30, 200
    rejected = {"speakers": 0, "mcnemar": 0}
    for seed in range(simulations):
        right = rng.random((2, speakers, clips)) < 0.7 + rng.normal(0, 0.12, (2, speakers, 1))
        counts = np.zeros((speakers, 2, 2, 2))  # the label is always the first of two classes
        counts[:, :, 0, 0] = right.sum(2).T
        counts[:, :, 0, 1] = clips - counts[:, :, 0, 0]
        (difference,) = differences(counts, [(0, 1)], metric="accuracy", seed=seed)
        rejected["speakers"] += difference.p < 0.05
        only_first, only_second = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
        rejected["mcnemar"] += binomtest(only_first, only_first + only_second).pvalue < 0.05
    assert rejected["speakers"] <= 0.08 * simulations
    assert rejected["mcnemar"] >= 0.17 * simulations  # why McNemar's test is not used


def test_corrected_t_by_hand():
    # mean 0.03, s² 0.00045; (1/5 + 1/4) s² = 0.0002025; t = 0.03 / 0.0142302
    result = corrected_t(np.array([0.05, 0.02, 0.03, 0.0, 0.05]), tested=100, trained=400)
    assert result is not None
    assert result.mean == pytest.approx(0.03)
    assert result.t == pytest.approx(2.10819, abs=1e-5)
    assert result.p == pytest.approx(0.10270, abs=1e-4)  # two-sided, four degrees of freedom
    assert result.folds == 5


@given(st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-3), min_size=3, max_size=12, unique=True))
def test_without_overlap_it_is_the_ordinary_t_test_and_with_it_more_careful(apart):
    ordinary = ttest_1samp(apart, 0.0)
    result = corrected_t(np.array(apart), tested=0.0, trained=1.0)
    careful = corrected_t(np.array(apart), tested=1.0, trained=4.0)
    assert result is not None
    assert careful is not None
    assert (result.t, result.p) == (pytest.approx(ordinary.statistic), pytest.approx(ordinary.pvalue))
    assert careful.t == pytest.approx(result.t / np.sqrt(1 + len(apart) / 4))


def test_corrected_t_of_differences_that_do_not_vary():
    same = corrected_t(np.zeros(5), tested=1, trained=4)
    apart = corrected_t(np.full(5, 0.1), tested=1, trained=4)
    assert same is not None
    assert apart is not None
    assert (same.t, same.p) == (0.0, 1.0)
    assert apart.p == 0.0
    assert corrected_t(np.array([0.1]), tested=1, trained=4) is None


def test_holm_of_a_worked_example():
    # 4 · 0.005, 3 · 0.01, 2 · 0.03, then 0.04 no less than the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_the_closed_test_of_bonferroni(p):
    """A hypothesis is as significant as the weakest Bonferroni test of all sets that it is in."""
    members = range(len(p))
    sets = [s for size in range(1, len(p) + 1) for s in combinations(members, size)]
    closed = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in members]
    assert holm(p) == pytest.approx(closed)


def systems(*accuracies: float, speakers: int = 30, seed: int = 0) -> np.ndarray:
    """(speakers, R, 2, 2) counts; speakers are equally easy or hard for all systems."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0, 0.1, speakers)
    counts = np.zeros((speakers, len(accuracies), 2, 2), np.int64)
    for system, accuracy in enumerate(accuracies):
        right = rng.binomial(50, np.clip(accuracy + ease, 0, 1)[:, None], (speakers, 2))
        counts[:, system, [0, 1], [0, 1]] = right
        counts[:, system, [0, 1], [1, 0]] = 50 - right
    return counts


def test_pairing_finds_what_single_intervals_hide():
    counts = systems(0.66, 0.60)
    (difference,) = differences(counts, [(0, 1)], metric="uar", seed=0)
    scores = metrics.uar(counts.sum(0))
    assert difference.value == pytest.approx(scores[0] - scores[1])
    assert 0 < difference.low < difference.value < difference.high
    assert difference.p < 0.01
    (mirrored,) = differences(counts, [(1, 0)], metric="uar", seed=0)
    assert (mirrored.low, mirrored.high) == pytest.approx((-difference.high, -difference.low))
    assert mirrored.p == pytest.approx(difference.p)


def test_a_system_against_itself():
    counts = systems(0.6)[:, [0, 0]]
    (difference,) = differences(counts, [(0, 1)], metric="uar", seed=0)
    assert (difference.value, difference.low, difference.high, difference.p) == (0.0, 0.0, 0.0, 1.0)


def test_systems_within_noise_of_the_best():
    best, near = near_best(systems(0.60, 0.70, 0.50, 0.697), metric="uar", seed=0)
    assert best == 1
    assert near == [False, True, False, True]


def test_a_clear_best_is_alone_among_very_many():
    """A few large speakers and forty systems: large differences must not count as noise."""
    sizes = np.r_[np.full(3, 8), np.ones(27, int)]
    counts = sizes[:, None, None, None] * systems(0.85, *[0.55] * 39)
    best, near = near_best(counts, metric="uar", seed=0)
    assert (best, sum(near)) == (0, 1)


def test_the_only_system_is_the_best():
    assert near_best(systems(0.6), metric="uar", seed=0) == (0, [True])
