from __future__ import annotations

import numpy as np
import xgboost
from sklearn.preprocessing import StandardScaler

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.regression.trees import XGBOOST_REGRESSION
from tests.studies import made_numbers

PREP = Preprocessing("mean+std", "standard")
PARAMS = {**XGBOOST_REGRESSION.start, "subsample": 1.0, "colsample_bytree": 1.0}


def test_it_predicts_what_a_plain_pipeline_predicts() -> None:
    features, X, y = made_numbers(rows=300)
    found = XGBOOST_REGRESSION.fit(features, PREP, PARAMS, (5.0, 40.0), 0)
    scaler = StandardScaler().fit(X[features.train].astype(np.float64))
    train, test = (scaler.transform(X[rows]).astype(np.float32) for rows in (features.train, features.test))
    truth = y[features.train]
    for rounds, scores in zip((5, 40), found, strict=True):
        plain = xgboost.XGBRegressor(
            n_estimators=rounds, tree_method="hist", max_bin=64, n_jobs=1, base_score=0.0, **PARAMS
        ).fit(train, (truth - truth.mean()) / truth.std())
        expected = plain.predict(test) * truth.std() + truth.mean()
        assert np.mean(np.abs(scores[:, 0] - expected) < 0.01 * truth.std()) > 0.97
    errors = [np.square(scores[:, 0] - y[features.test]).mean() for scores in found]
    assert errors[1] < errors[0] < y[features.test].var()


def test_the_unit_of_the_numbers_does_not_matter() -> None:
    features, _, y = made_numbers()
    (scores,) = XGBOOST_REGRESSION.fit(features, PREP, PARAMS, [20.0], 0)
    (other,) = XGBOOST_REGRESSION.fit(features.relabelled(1000 * y - 5), PREP, PARAMS, [20.0], 0)
    np.testing.assert_allclose(other, 1000 * scores - 5, rtol=1e-3)
