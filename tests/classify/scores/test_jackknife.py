from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from layerprobe.classify.scores.jackknife import group_clusters, jackknife_interval
from layerprobe.classify.similarity.cka import linear_cka


def test_of_a_mean_it_is_students_interval():
    values = np.random.default_rng(0).standard_normal(12)
    without = (values.sum() - values) / 11
    low, high = jackknife_interval(np.array(values.mean()), without, np.ones(12))
    expected = stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values))
    assert (float(low), float(high)) == pytest.approx(expected)


def test_one_group_has_no_interval():
    low, high = jackknife_interval(np.array([0.5]), np.array([[np.nan]]), np.array([9]))
    assert np.isnan([low, high]).all()


def test_intervals_of_cka_cover_the_truth():
    """States of correlated clips of few speakers: 95 % intervals over speakers, in 120 draws."""
    mixing = np.random.default_rng(1).standard_normal((2, 6, 20))
    speakers, each = 20, 6

    def draw(rng: np.random.Generator, speakers: int, each: int) -> list[np.ndarray]:
        of = np.repeat(np.arange(speakers), each)
        content, noise = (
            rng.standard_normal((len(of), width)) + rng.standard_normal((speakers, width))[of]
            for width in (6, 20)
        )
        return [content @ mixing[0], content @ mixing[1] + 2 * noise]

    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(speakers), each)
    values, covered = [], []
    for _ in range(120):
        value, without = linear_cka(draw(rng, speakers, each), groups)
        low, high = jackknife_interval(value, without, np.bincount(groups))
        values.append(value[0, 1])
        covered.append((low[0, 1], high[0, 1]))
    truth = np.mean(values)  # the expectation of the estimator at this number of speakers
    share = np.mean([low <= truth <= high for low, high in covered])
    assert 0.88 <= share <= 0.99


def test_many_speakers_are_grouped_and_few_are_not():
    speakers = np.repeat(np.arange(30), 4)
    np.testing.assert_array_equal(group_clusters(speakers + 5, most=30, seed=0), speakers)
    groups = group_clusters(speakers, most=7, seed=0)
    assert set(groups) == set(range(7))
    for speaker in range(30):
        assert len(set(groups[speakers == speaker])) == 1
    assert np.ptp(np.bincount(groups)) <= 4
