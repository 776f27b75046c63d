"""Proportional odds against scikit-learn, a direct minimisation, and a simulated truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.registry import KINDS
from layerprobe.classify.heads.structured.ordinal import (
    ORDINAL_LOGISTIC,
    ProportionalOdds,
    log_probabilities,
)
from tests.studies import made_features


def made_levels(n: int, r: int, *, levels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z (n, r) with orthogonal columns, levels y (n,) drawn with proportional odds, and the true w (r,)."""
    rng = np.random.default_rng(seed)
    Z = np.linalg.qr(rng.standard_normal((n, r)))[0] * np.sqrt(n) * np.geomspace(1, 0.3, r)
    Z -= Z.mean(0)
    w = rng.standard_normal(r)
    thresholds = np.linspace(-1, 1.5, levels - 1)
    y = (rng.logistic(size=n)[:, None] + (Z @ w)[:, None] > thresholds).sum(1)
    return Z, y, w


def test_with_two_levels_it_is_logistic_regression() -> None:
    Z, y, _ = made_levels(200, 5, levels=2)
    weight = np.where(y == 0, 2.0, 0.5)
    w, thresholds = ProportionalOdds(Z, y, weight, levels=2).solve(penalty=4.0)
    plain = LogisticRegression(C=1 / 4, tol=1e-10, max_iter=10_000).fit(Z, y, sample_weight=weight)
    np.testing.assert_allclose(w, plain.coef_[0], atol=1e-3)
    assert -thresholds[0] == pytest.approx(plain.intercept_[0], abs=1e-3)


@pytest.mark.parametrize("levels", [3, 5])
def test_it_is_the_optimum_of_the_textbook_likelihood(levels: int) -> None:
    Z, y, _ = made_levels(150, 4, levels=levels)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    solver, penalty = ProportionalOdds(Z, y, weight, levels=levels), 3.0

    def objective(at: np.ndarray) -> float:
        w, thresholds = at[:4], np.cumsum(np.append(at[4:5], np.exp(at[5:])))
        below = np.hstack([np.zeros((150, 1)), expit(thresholds - (Z @ w)[:, None]), np.ones((150, 1))])
        P = (below[:, 1:] - below[:, :-1])[np.arange(150), y]
        return float(-weight @ np.log(P) + penalty / 2 * w @ w)

    start = np.concatenate([np.zeros(4), [-1.0], np.zeros(levels - 2)])
    direct = minimize(objective, start, method="BFGS", options={"gtol": 1e-7})
    solver.solve(penalty=100.0)  # the next solution starts from this one
    w, thresholds = solver.solve(penalty=penalty)
    np.testing.assert_allclose(w, direct.x[:4], atol=2e-3)
    np.testing.assert_allclose(
        thresholds, np.cumsum(np.append(direct.x[4:5], np.exp(direct.x[5:]))), atol=5e-3
    )


def test_it_finds_a_simulated_truth() -> None:
    Z, y, true = made_levels(20_000, 3, levels=4)
    w, thresholds = ProportionalOdds(Z, y, np.ones(len(y)), levels=4).solve(penalty=1e-6)
    np.testing.assert_allclose(w, true, atol=0.12)
    np.testing.assert_allclose(thresholds, [-1, 0.25, 1.5], atol=0.1)


def test_probabilities_are_exact_far_out_and_sum_to_one() -> None:
    log_p = log_probabilities(np.array([-800.0, 0.0, 800.0]), np.array([-1.0, 1.0]))
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1)
    assert log_p.argmax(1).tolist() == [0, 1, 2]
    assert log_p[0, 2] == pytest.approx(-801)
    assert log_p[1, 1] == pytest.approx(np.log(expit(1) - expit(-1)))


def test_a_path_gives_what_single_fits_give_and_a_file_too(tmp_path: Path) -> None:
    features, _, _ = made_features(rows=240)
    prep, (_, values) = Preprocessing("mean", "standard"), ORDINAL_LOGISTIC.path
    params = {"class_weight": "balanced"}
    together = list(ORDINAL_LOGISTIC.fit(features, prep, params, values, 0))
    for value, scores in list(zip(values, together, strict=True))[::3]:
        (alone,) = ORDINAL_LOGISTIC.fit(features, prep, params, [value], 0)
        np.testing.assert_allclose(np.exp(scores), np.exp(alone), atol=2e-3)
    train, test = features.inputs(prep)
    assert ORDINAL_LOGISTIC.refit is not None
    rows = TrainingRows(Z=train, y=features.y, classes=3, landmarks=None)
    fitted = ORDINAL_LOGISTIC.refit(rows, params, values[3], 0)
    loaded = KINDS[fitted.kind].load(tmp_path, fitted.save(tmp_path))
    np.testing.assert_allclose(np.exp(loaded.scores(test)), np.exp(together[3]), atol=2e-3)
