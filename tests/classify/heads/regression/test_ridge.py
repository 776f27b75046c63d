from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.regression.ridge import RIDGE_REGRESSION
from tests.studies import made_numbers


@pytest.mark.parametrize("pca", [0, 5])
@pytest.mark.parametrize(("rows", "width"), [(300, 12), (120, 70)])  # the second has more columns than rows
def test_it_predicts_what_scikit_learns_ridge_predicts(rows: int, width: int, pca: int) -> None:
    features, X, y = made_numbers(rows=rows, width=width)
    prep, values = Preprocessing("mean+std", "standard", pca), (0.01, 1.0, 100.0)
    found = RIDGE_REGRESSION.fit(features, prep, {}, values, 0)
    train, test = X[features.train].astype(np.float64), X[features.test].astype(np.float64)
    steps = [StandardScaler(), *([PCA(pca, svd_solver="full")] if pca else [])]
    Z = make_pipeline(*steps).fit_transform(train)
    power = np.square(Z).sum() / len(Z)
    for alpha, scores in zip(values, found, strict=True):
        expected = make_pipeline(*steps, Ridge(alpha * power)).fit(train, y[features.train]).predict(test)
        assert scores.shape == (len(features.test), 1)
        np.testing.assert_allclose(scores[:, 0], expected, atol=1e-3 * y.std())
