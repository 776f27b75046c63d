"""Intervals that resample speakers: coverage of a known truth, an independent package as witness."""

from __future__ import annotations

import numpy as np
import pytest
from confidence_intervals import evaluate_with_conf_int
from scipy.stats import norm, t

from layerprobe.classify.scores.bootstrap import (
    MANY,
    draw_scores,
    effective_sample_size,
    expanded_percentile_interval,
    mean_intervals,
    p_value,
)
from layerprobe.classify.scores.intervals import score_intervals
from layerprobe.classify.tasks import confusion as metrics
from layerprobe.classify.tasks.classification import CLASSIFICATION

RECALL = np.array([0.7, 0.5, 0.6])  # of three classes, over all speakers there could be
UNEVEN = np.array([351, 339, 306] + [60] * 5 + [21] * 20 + [15] * 16 + [3] * 16)  # much like BAVED's


def made(sizes: np.ndarray, *, replicates: int, seed: int, tightness: float = 10.0) -> np.ndarray:
    """(speakers, replicates, 3, 3) counts of replicated studies.

    Each speaker has her own recall, drawn from a beta distribution with mean RECALL: the true UAR is 0.6.
    """
    rng = np.random.default_rng(seed)
    per_class = (sizes // 3)[:, None, None]
    shape = (len(sizes), replicates, 3)
    right = rng.binomial(per_class, rng.beta(tightness * RECALL, tightness * (1 - RECALL), shape))
    counts = np.zeros((*shape, 3), np.int64)
    for k in range(3):
        counts[:, :, k, k] = right[:, :, k]
        counts[:, :, k, (k + 1) % 3] = per_class[:, :, 0] - right[:, :, k]
    return counts


def covered(draws: np.ndarray, sizes: np.ndarray, truth: float) -> float:
    return float(
        np.mean(
            [low <= truth <= high for low, high in (expanded_percentile_interval(d, sizes) for d in draws.T)]
        )
    )


@pytest.mark.parametrize(
    "sizes", [np.full(6, 60), np.full(20, 30), np.full(60, 15), UNEVEN], ids=["6", "20", "60", "uneven"]
)
def test_95_of_100_intervals_cover_the_truth(sizes):
    draws = draw_scores(made(sizes, replicates=600, seed=1), metric="uar", seed=2, resamples=2000)
    assert 0.92 <= covered(draws, sizes, RECALL.mean()) <= 0.985


@pytest.mark.parametrize("speakers", [2, 3])
def test_intervals_of_two_or_three_speakers_are_wide_enough(speakers):
    """Were they to end where the draws do, only 57 and 79 of 100 would cover it."""
    sizes = np.full(speakers, 60)
    draws = draw_scores(made(sizes, replicates=600, seed=1), metric="uar", seed=2, resamples=2000)
    assert 0.89 <= covered(draws, sizes, RECALL.mean()) <= 0.985


def test_scores_stay_between_0_and_1():
    intervals = score_intervals(made(np.array([300, 3, 3]), replicates=3, seed=3), metric="uar", seed=0)
    assert all(0 <= each.low <= each.value <= each.high <= 1 for each in intervals)


def test_what_is_wrong_with_plain_percentiles_and_with_resampling_clips():
    sizes = np.full(6, 60)
    counts = made(sizes, replicates=300, seed=1)
    draws = draw_scores(counts, metric="uar", seed=2, resamples=2000)
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    assert np.mean((low <= 0.6) & (high >= 0.6)) < 0.9
    of_clips = np.sqrt((RECALL * (1 - RECALL)).sum() / 120) / 3  # standard error, 120 clips a class
    assert np.mean(np.abs(metrics.uar(counts.sum(0)) - 0.6) < 1.96 * of_clips) < 0.8


def test_95_of_100_intervals_of_a_difference_cover_it_and_5_of_100_nulls_are_rejected():
    sizes = UNEVEN[:40]
    a = made(sizes, replicates=400, seed=3)
    b = made(sizes, replicates=400, seed=4)
    draws = draw_scores(np.concatenate([a, b], axis=1), metric="uar", seed=5, resamples=2000)
    apart = draws[:, :400] - draws[:, 400:]
    assert 0.92 <= covered(apart, sizes, 0.0) <= 0.99
    rejected = np.mean([p_value(d, sizes) < 0.05 for d in apart.T])
    assert 0.01 <= rejected <= 0.08


def test_the_p_and_the_interval_agree_on_zero():
    sizes = np.full(12, 10)
    draws = np.random.default_rng(0).normal(0, 1, 4000)
    low, high = expanded_percentile_interval(draws, sizes)
    for offset in (-high - 0.1, -high + 0.1, 0.0, -low - 0.1, -low + 0.1):
        left_out = low + offset > 0 or high + offset < 0
        assert (p_value(draws + offset, sizes) < 0.05) == left_out


@pytest.mark.parametrize("sizes", [np.full(12, 10), np.full(3, 10)])
def test_the_p_far_out_is_that_of_student_s_t(sizes):
    """Draws that are normal: the statistic is their mean over their deviation, too far out to be counted."""
    quantiles = (np.arange(4000) + 0.5) / 4000
    draws = norm.ppf(quantiles)
    n = len(sizes)
    for away in (5.0, 9.0):
        expected = 2 * t.sf(away * np.sqrt((n - 1) / n), n - 1)
        assert p_value(draws + away, sizes) == pytest.approx(expected, rel=0.15)
        assert p_value(draws - away, sizes) == pytest.approx(expected, rel=0.15)
    low, high = expanded_percentile_interval(draws, sizes)
    for offset in (-high - 0.1, -high + 0.1, -low - 0.1, -low + 0.1):
        left_out = low + offset > 0 or high + offset < 0
        assert (p_value(draws + offset, sizes) < 0.05) == left_out


def test_tails_of_ten_equal_clusters_by_hand():
    # t(0.975; 9) = 2.2622; Φ(-2.2622 · sqrt(10/9)) = Φ(-2.3845) = 0.00855, from tables
    draws = np.arange(100_001) / 100_000
    low, high = expanded_percentile_interval(draws, np.full(10, 7))
    assert (low, high) == (pytest.approx(0.00855, abs=2e-5), pytest.approx(1 - 0.00855, abs=2e-5))


def test_with_very_many_clusters_they_are_the_plain_percentiles():
    draws = np.arange(10_001) / 10_000
    assert expanded_percentile_interval(draws, np.ones(10**6)) == pytest.approx((0.025, 0.975), abs=1e-4)


def test_effective_number_of_speakers():
    assert effective_sample_size(np.full(8, 5)) == pytest.approx(8)
    assert effective_sample_size(np.array([1000, 1, 1])) == pytest.approx(1.004, abs=0.001)


def test_the_same_as_the_package_s_bootstrap_over_speakers():
    counts = made(UNEVEN, replicates=1, seed=7)
    draws = draw_scores(counts, metric="uar", seed=0, resamples=4000)[:, 0]
    value, (low, high) = evaluate_with_conf_int(
        counts[:, 0], lambda drawn: metrics.uar(drawn.sum(0)), num_bootstraps=1000
    )
    assert metrics.uar(counts.sum(0))[0] == value
    assert np.quantile(draws, (0.025, 0.975)) == pytest.approx((low, high), abs=0.25 * (high - low) / 2)
    assert draws.std() == pytest.approx((high - low) / 3.92, rel=0.12)


def test_the_same_as_the_package_s_conditions_where_speakers_differ_much():
    counts = made(np.full(20, 60), replicates=1, seed=8, tightness=1.0)
    speaker, y, predicted = np.repeat(np.argwhere(counts[:, 0] >= 0), counts[:, 0].ravel(), axis=0).T
    draws = draw_scores(counts, metric="uar", seed=0, resamples=4000)[:, 0]
    _, (low, high) = evaluate_with_conf_int(
        predicted,
        lambda labels, decisions: CLASSIFICATION.score(labels, decisions, classes=3, metric="uar"),
        labels=y,
        conditions=speaker,
        num_bootstraps=400,
    )
    ours = np.quantile(draws, (0.025, 0.975))
    assert ours == pytest.approx((low, high), abs=0.12 * (high - low))


def test_clips_instead_of_speakers_have_the_spread_of_a_binomial():
    clips = 4 * MANY
    counts = np.zeros((clips, 1, 2, 2), np.int64)
    counts[np.arange(clips), 0, 0, (np.arange(clips) % 4 == 0).astype(int)] = 1
    draws = draw_scores(counts, metric="accuracy", seed=0)[:, 0]
    assert draws.mean() == pytest.approx(0.75, abs=0.001)
    assert draws.std() == pytest.approx(np.sqrt(0.75 * 0.25 / clips), rel=0.03)


def test_a_system_gets_the_same_draws_alone_and_beside_others():
    counts = made(UNEVEN, replicates=3, seed=9)
    together = draw_scores(counts, metric="macro_f1", seed=4, resamples=500)
    for system in range(3):
        alone = draw_scores(counts[:, system : system + 1], metric="macro_f1", seed=4, resamples=500)
        np.testing.assert_allclose(together[:, system], alone[:, 0])


def test_95_of_100_intervals_of_the_mean_over_speakers_cover_it():
    """However uneven the speakers: each has her own recall, with mean 0.6 over all there could be."""
    counts = made(UNEVEN, replicates=200, seed=6)
    intervals = mean_intervals(metrics.uar(counts), seed=0)
    assert 0.91 <= np.mean([each.low <= 0.6 <= each.high for each in intervals]) <= 0.99
    assert intervals[0].value == pytest.approx(np.mean([metrics.uar(c) for c in counts[:, 0]]))


def test_the_mean_over_very_many_speakers_has_the_spread_of_a_mean():
    values = np.random.default_rng(0).normal(0.5, 0.1, (3000, 1))
    (interval,) = mean_intervals(values, seed=0)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * 0.1 / np.sqrt(3000), rel=0.06)


def test_the_seed_decides():
    counts = made(UNEVEN, replicates=1, seed=9)
    first, again, other = (score_intervals(counts, metric="uar", seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_a_single_speaker_has_no_interval():
    counts = made(np.array([30]), replicates=1, seed=0)
    (interval,) = score_intervals(counts, metric="uar", seed=0)
    assert interval.value == metrics.uar(counts[0])[0]
    assert np.isnan([interval.low, interval.high]).all()
    assert p_value(np.array([1.0, 2.0]), np.array([30])) == 1.0
