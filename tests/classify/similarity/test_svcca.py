from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from layerprobe.classify.similarity.svcca import VARIANCE, principal_directions, svcca


def reference(X: np.ndarray, Y: np.ndarray) -> float:
    """By scikit-learn: principal axes with 99 % of the variance, then canonical correlations."""
    X, Y = (
        PCA(VARIANCE, svd_solver="full").fit_transform(X),
        PCA(VARIANCE, svd_solver="full").fit_transform(Y),
    )
    pairs = min(X.shape[1], Y.shape[1])
    left, right = CCA(pairs, scale=False, max_iter=10_000, tol=1e-12).fit_transform(X, Y)
    return float(np.mean([np.corrcoef(left[:, k], right[:, k])[0, 1] for k in range(pairs)]))


def test_it_equals_scikit_learn_with_and_without_each_group():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((120, 3))
    X = common @ rng.standard_normal((3, 5)) + 0.3 * rng.standard_normal((120, 5)) + 4
    Y = common @ rng.standard_normal((3, 9)) + 0.05 * rng.standard_normal((120, 9))
    groups = np.arange(120) % 3
    value, without = svcca([X, Y], groups)
    assert value[0, 1] == pytest.approx(reference(X, Y), abs=1e-6)
    for group in range(3):
        left = groups != group
        assert without[group, 0, 1] == pytest.approx(reference(X[left], Y[left]), abs=1e-6)
    assert np.diagonal(value) == pytest.approx(np.ones(2))


def test_any_invertible_map_leaves_it_at_one():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 4))
    value, _ = svcca([X, X @ rng.standard_normal((4, 4)) + 9], np.zeros(80, np.int64))
    assert value[0, 1] == pytest.approx(1, abs=1e-2)  # axes below 1 % of the variance are left out


@pytest.mark.parametrize("width", [6, 60])
def test_directions_are_orthonormal_and_have_the_variance(width):
    X = np.random.default_rng(2).standard_normal((30, width)) * np.linspace(1, 0.01, width)
    directions = principal_directions(X)
    np.testing.assert_allclose(directions.T @ directions, np.eye(directions.shape[1]), atol=1e-8)
    centred = X - X.mean(0)
    share = np.square(directions.T @ centred).sum() / np.square(centred).sum()
    fewer = np.square(directions[:, :-1].T @ centred).sum() / np.square(centred).sum()
    assert fewer < VARIANCE <= share


def test_states_that_do_not_differ_have_no_value():
    value, _ = svcca([np.ones((20, 3)), np.random.default_rng(0).standard_normal((20, 3))], np.arange(20) % 2)
    assert np.isnan(value[0]).all()
    assert value[1, 1] == pytest.approx(1)
