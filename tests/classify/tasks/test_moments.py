"""Scores of numbers against worked examples, SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from layerprobe.classify.tasks.moments import ccc, mae, pearson, rmse, spearman, sums

TRUE, PREDICTED = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 6.0])


def test_ccc_by_hand():
    # means 2.5 and 3; variances (by N) 1.25 and 3.5; covariance 2; 2 · 2 / (1.25 + 3.5 + 0.25)
    assert float(ccc(sums(TRUE, PREDICTED, None))) == pytest.approx(0.8)


def test_ccc_is_lowered_by_an_offset_and_by_another_scale_and_pearson_is_not():
    for predicted in (TRUE + 1, 2 * TRUE):
        found = sums(TRUE, predicted, None)
        assert float(pearson(found)) == pytest.approx(1)
        assert float(ccc(found)) < 0.9
    # an offset d of clips with variance v: 2 v / (2 v + d²)
    assert float(ccc(sums(TRUE, TRUE + 1, None))) == pytest.approx(2.5 / 3.5)
    assert float(ccc(sums(TRUE, TRUE, None))) == 1


def test_scores_are_those_of_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 9, 200) / 2  # with ties
    predicted = 100 + np.round(y + rng.standard_normal(200), 1)
    found = sums(y, predicted, None)
    assert float(pearson(found)) == pytest.approx(pearsonr(y, predicted).statistic)
    assert float(spearman(found)) == pytest.approx(spearmanr(y, predicted).statistic)
    assert float(rmse(found)) == pytest.approx(root_mean_squared_error(y, predicted))
    assert float(mae(found)) == pytest.approx(mean_absolute_error(y, predicted))
    covariance = np.cov(y, predicted, ddof=0)
    apart = y.mean() - predicted.mean()
    assert float(ccc(found)) == pytest.approx(2 * covariance[0, 1] / (np.trace(covariance) + apart**2))


def test_sums_of_clusters_add_up_to_those_of_all_clips():
    rng = np.random.default_rng(1)
    y, predicted, clusters = rng.standard_normal(60), rng.standard_normal(60), np.arange(60) % 7 * 3
    found = sums(y, predicted, clusters)
    assert found[:, 0].tolist() == np.bincount(np.arange(60) % 7).tolist()
    np.testing.assert_allclose(found.sum(0), sums(y, predicted, None), atol=1e-12)


def test_far_from_zero_no_digits_are_lost():
    near, far = (sums(TRUE + offset, PREDICTED + offset, None) for offset in (0.0, 1e9))
    for score in (ccc, pearson, spearman, rmse, mae):
        assert float(score(far)) == pytest.approx(float(score(near)), rel=1e-6)


def test_constant_predictions_have_no_correlation_and_a_constant_truth_has_no_score():
    constant = sums(TRUE, np.full(4, 1.7), None)
    assert [float(score(constant)) for score in (ccc, pearson, spearman)] == [0, 0, 0]
    undefined = sums(np.full(4, 0.1), PREDICTED, None)
    assert np.isnan([float(score(undefined)) for score in (ccc, pearson, spearman)]).all()
    assert float(mae(undefined)) == pytest.approx(2.9)
    assert np.isnan(float(rmse(np.zeros(13))))  # no clip at all
