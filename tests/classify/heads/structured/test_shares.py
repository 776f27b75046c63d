from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.boosting import BINS, settings
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.registry import HEADS, KINDS, check_known, heads_of
from layerprobe.classify.heads.structured.shares import copies, weighted_shares
from tests.studies import made_features

PREP = Preprocessing("mean", "standard")


def made_shares(classes: int = 3) -> FoldFeatures:
    """A fold whose clips have votes for their class and for others, some clips for one class only."""
    shared, _, y = made_features(rows=240, classes=classes)
    rng = np.random.default_rng(1)
    votes = rng.multinomial(5, np.full(classes, 1 / classes), len(y)) * (rng.random(len(y)) < 0.7)[:, None]
    votes[np.arange(len(y)), y] += 4
    shares = votes / votes.sum(1, keepdims=True)
    train, test = shared.train, shared.test
    return FoldFeatures(
        shared.layers, shares, train=train, test=test, classes=classes, cache=LruCache(1 << 30)
    )


@pytest.mark.parametrize("weighting", ["none", "balanced"])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_is_scikit_learns_on_weighted_copies(weighting: str, classes: int) -> None:
    features = made_shares(classes)
    train, test = features.inputs(PREP)
    row, y, share = copies(features.y)
    if weighting == "balanced":
        share = share * (share.sum() / (classes * np.bincount(y, share)))[y]
    params = {"class_weight": weighting}
    values = (0.15, 3.0)
    head = heads_of("soft")["logreg"]
    for C, scores in zip(values, head.fit(features, PREP, params, values, 0), strict=True):
        model = LogisticRegression(C=C / features.power(PREP), tol=1e-8, max_iter=5000)
        expected = model.fit(train[row], y, sample_weight=share).predict_proba(test)
        found = np.exp(scores - scores.max(1, keepdims=True))
        np.testing.assert_allclose(found / found.sum(1, keepdims=True), expected, atol=2e-4)
    assert head.refit is not None
    fitted = head.refit(TrainingRows(Z=train, y=features.y, classes=classes), params, values[1], 0)
    np.testing.assert_allclose(fitted.scores(test), scores, atol=1e-3)


def test_trees_are_xgboosts_on_weighted_copies(tmp_path: Path) -> None:
    features = made_shares()
    train, test = features.inputs(PREP)
    row, y, share = copies(features.y)
    params = {**HEADS["xgboost"].start, "class_weight": "none"}
    head = heads_of("soft")["xgboost"]
    found = list(head.fit(features, PREP, params, (12, 25), 0))
    dense = np.ascontiguousarray(train[row])
    matrix = xgboost.QuantileDMatrix(dense, y, weight=share, max_bin=BINS, nthread=1)
    booster = xgboost.train(settings(params, classes=3, seed=0), matrix, 25)
    expected = booster.inplace_predict(np.ascontiguousarray(test), predict_type="margin")
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    assert head.refit is not None
    fitted = head.refit(TrainingRows(Z=train, y=features.y, classes=3), params, 25, 0)
    loaded = KINDS[fitted.kind].load(tmp_path, fitted.save(tmp_path))
    np.testing.assert_allclose(loaded.scores(test), expected, atol=1e-5)


def test_balanced_classes_have_equal_totals_and_shares_sum_to_one() -> None:
    y = made_shares().y
    shares, weight = weighted_shares(y, "balanced")
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose((shares * weight[:, None]).sum(0), len(y) / 3)
    shares, weight = weighted_shares(y, "none")
    np.testing.assert_allclose(shares, y)
    np.testing.assert_allclose(weight, 1)


def test_the_baseline_predicts_the_mean_shares() -> None:
    features = made_shares()
    head = heads_of("soft")["majority"]
    (scores,) = head.fit(features, PREP, {}, (1.0,), 0)
    np.testing.assert_allclose(np.exp(scores), np.tile(features.y.mean(0), (len(scores), 1)))


def test_heads_without_a_log_loss_are_refused() -> None:
    with pytest.raises(InputError) as raised:
        check_known(("logreg", "svm"), "soft")
    assert raised.value.what.startswith("svm cannot be fitted to shares of votes")
    assert "logreg, xgboost, weights, bilstm" in raised.value.do
    with pytest.raises(InputError, match="--heads nothing"):
        check_known(("nothing",), "soft")
