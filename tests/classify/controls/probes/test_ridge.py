"""Ridge probes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from layerprobe.classify.controls.probes.linear import SHUFFLES
from layerprobe.classify.controls.probes.ridge import PENALTIES, fit_ridge, number_scores, ridge_layer
from layerprobe.classify.controls.probes.targets import FOLDS

SPEAKERS = np.repeat(np.arange(12), 15)
fold_of = SPEAKERS % FOLDS


def numbers(*, width: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States, and two numbers: one linear in them with noise, one that they do not hold."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((len(SPEAKERS), width)) * np.exp(rng.uniform(-1, 1, width)) + 3
    y = X @ rng.standard_normal(width) + 40 + rng.standard_normal(len(X))
    return X.astype(np.float32), np.column_stack([y, rng.standard_normal(len(X))])


def scikit_learn(X: np.ndarray, Y: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
    scaler = StandardScaler().fit(X)
    train = scaler.transform(X)
    power = np.square(train).sum() / len(train)
    fitted: np.ndarray = Ridge(alpha=penalty * power).fit(train, Y).predict(scaler.transform(test))
    return fitted


@pytest.mark.parametrize("width", [20, 300])
def test_fits_are_those_of_scikit_learn(width: int) -> None:
    X, Y = numbers(width=width)
    train = fold_of != 0
    for penalty, fits in zip(PENALTIES, fit_ridge(X[train], Y[train], X[~train]), strict=True):
        expected = scikit_learn(X[train], Y[train], X[~train], penalty)
        np.testing.assert_allclose(fits, expected, rtol=2e-3, atol=2e-2)


def test_the_penalty_is_chosen_inside_the_training_part_and_r_squared_is_pooled() -> None:
    X, Y = numbers()
    result = ridge_layer(X, Y, fold_of, SPEAKERS, seed=0)
    for column in range(2):
        expected = np.empty(len(X))
        for fold in range(FOLDS):
            errors = []
            for penalty in PENALTIES:
                inner = [other for other in range(FOLDS) if other != fold]
                error = 0.0
                for one, other in (inner, inner[::-1]):
                    fits = scikit_learn(X[fold_of == one], Y[fold_of == one], X[fold_of == other], penalty)
                    error += np.square(fits - Y[fold_of == other])[:, column].sum()
                errors.append(error)
            best = PENALTIES[int(np.argmin(errors))]
            train = fold_of != fold
            expected[~train] = scikit_learn(X[train], Y[train], X[~train], best)[:, column]
        np.testing.assert_allclose(result["predicted"][column], expected, rtol=1e-3, atol=1e-2)
        (entry,) = number_scores(Y[:, column], [result], column, SPEAKERS)
        assert entry["r2"]["value"] == pytest.approx(r2_score(Y[:, column], expected), abs=1e-3)
        control = [r2_score(Y[:, column], rows[column]) for rows in result["control"]]
        assert len(control) == SHUFFLES
        assert entry["control"]["value"] == pytest.approx(np.mean(control))
        gain = entry["selectivity"]
        assert gain["value"] == pytest.approx(entry["r2"]["value"] - entry["control"]["value"])
        assert gain["low"] < gain["value"] < gain["high"]


def test_what_states_hold_is_found_and_what_they_do_not_is_not() -> None:
    X, Y = numbers()
    result = ridge_layer(X, Y, fold_of, SPEAKERS, seed=0)
    held, absent = (number_scores(Y[:, column], [result], column, SPEAKERS)[0] for column in (0, 1))
    assert held["r2"]["low"] > 0.8
    assert held["selectivity"]["low"] > 0.5
    assert absent["r2"]["high"] < 0.1
    assert -0.2 < absent["r2"]["value"] < 0.02
