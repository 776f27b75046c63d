from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from layerprobe.classify.heads.solvers import ridge


@pytest.mark.parametrize(("rows", "columns"), [(120, 15), (40, 90), (30, 30)])
@pytest.mark.parametrize("relative", [1.0, 100.0])
def test_it_is_scikit_learns_with_weights_and_a_free_intercept(
    rows: int, columns: int, relative: float
) -> None:
    rng = np.random.default_rng(rows)
    Z = (rng.standard_normal((rows, columns)) * np.geomspace(3, 0.1, columns) + 1).astype(np.float32)
    targets, weight = rng.standard_normal((rows, 2)) + 5, rng.uniform(0.2, 3, rows)
    penalty = relative * float(np.square(Z).sum() / rows)
    W, b = ridge.solve(Z, targets, weight, penalty=penalty)
    expected = Ridge(penalty).fit(Z.astype(np.float64), targets, sample_weight=weight)
    assert W.dtype == b.dtype == np.float32
    np.testing.assert_allclose(W, expected.coef_.T, atol=1e-4)
    np.testing.assert_allclose(Z @ W + b, expected.predict(Z), atol=1e-3)


def test_the_inputs_stay_as_they_are() -> None:
    Z = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    before = Z.copy()
    ridge.solve(Z, Z[:, :1].astype(np.float64), np.ones(20), penalty=1.0)
    np.testing.assert_array_equal(Z, before)


def test_weak_penalties_of_many_rows_are_not_for_single_precision() -> None:
    assert ridge.suffices(2_000, alpha=1.0)
    assert not ridge.suffices(2_000, alpha=0.1)
