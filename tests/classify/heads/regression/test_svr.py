from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.regression.svr import SVR_HEAD, squared_tube
from tests.studies import made_numbers

PREP = Preprocessing("mean+std", "standard")
CASES: list[tuple[int, dict[str, Any]]] = [
    (12, {"kernel": "rbf", "C": 3.0, "epsilon": 0.1, "gamma": 1.0}),
    (12, {"kernel": "rbf", "C": 50.0, "epsilon": 0.01, "gamma": 0.2}),
    (12, {"kernel": "linear", "C": 1.0, "epsilon": 0.2}),  # solved in the columns
    (60, {"kernel": "linear", "C": 1.0, "epsilon": 0.05}),  # on its kernel
]


@pytest.mark.parametrize(("width", "params"), CASES)
def test_it_predicts_what_scikit_learns_svr_predicts(width: int, params: dict[str, Any]) -> None:
    features, X, y = made_numbers(rows=330, width=width)
    (scores,) = SVR_HEAD.fit(features, PREP, params, [1.0], 0)
    train, test = X[features.train].astype(np.float64), X[features.test].astype(np.float64)
    truth = y[features.train]
    power = np.square(StandardScaler().fit_transform(train)).sum() / len(train)
    own = {**params, "C": params["C"] * truth.std(), "epsilon": params["epsilon"] * truth.std()}
    if params["kernel"] == "linear":
        own["C"] /= power
    else:
        own["gamma"] /= power
    plain = make_pipeline(StandardScaler(), SVR(**own, tol=1e-6)).fit(train, truth)
    np.testing.assert_allclose(scores[:, 0], plain.predict(test), atol=0.02 * y.std())


def test_the_unit_of_the_numbers_does_not_matter() -> None:
    features, _, y = made_numbers()
    params = CASES[0][1]
    (scores,) = SVR_HEAD.fit(features, PREP, params, [1.0], 0)
    (other,) = SVR_HEAD.fit(features.relabelled(1000 * y - 5), PREP, params, [1.0], 0)
    np.testing.assert_allclose(other, 1000 * scores - 5, rtol=1e-3)


def test_landmarks_come_close_to_the_exact_kernel() -> None:
    exact, _, y = made_numbers(rows=600, noise=0.2)
    near = FoldFeatures(
        exact.layers, y, train=exact.train, test=exact.test, classes=0,
        cache=LruCache(1 << 30), landmarks=np.arange(0, len(exact.train), 2),
    )  # fmt: skip
    params = {"kernel": "rbf", "C": 10.0, "epsilon": 0.1, "gamma": 0.3}
    truth = y[exact.test]
    errors = [
        np.square(next(iter(SVR_HEAD.fit(one, PREP, params, [1.0], 0)))[:, 0] - truth).mean() / truth.var()
        for one in (exact, near)
    ]
    assert errors[0] < 0.6
    assert abs(errors[0] - errors[1]) < 0.05


def test_the_loss_of_the_tube_has_the_slopes_that_it_says() -> None:
    loss, y = squared_tube(0.5), np.array([0.0, 0.0, 1.0])
    scores = np.array([[0.4], [2.0], [-1.0]])
    values, slopes, curvature = loss(scores, y)
    assert values.tolist() == [0, 1.5**2, 1.5**2]
    step = 1e-6
    for row in range(3):
        moved = scores.copy()
        moved[row] += step
        assert (loss(moved, y)[0][row] - values[row]) / step == pytest.approx(slopes[row, 0], abs=1e-4)
    assert curvature(np.ones((3, 1), np.float32))[:, 0].tolist() == [0, 2, 2]
