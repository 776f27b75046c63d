from __future__ import annotations

import numpy as np
import pytest
import xgboost

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.boosting import BINS, XGBOOST
from tests.studies import made_features


@pytest.mark.parametrize("classes", [2, 3])
def test_each_number_of_rounds_is_what_a_booster_of_so_many_predicts(classes: int) -> None:
    features, _, y = made_features(rows=120, classes=classes)
    params, rounds = {**XGBOOST.start, "class_weight": "none"}, (3, 5, 12)
    prep = Preprocessing("mean+std", "standard")
    own = {name: value for name, value in params.items() if name != "class_weight"}
    objective = {"objective": "multi:softprob", "num_class": 3}
    if classes == 2:
        objective = {"objective": "binary:logistic"}
    train, test = features.inputs(prep)
    matrix = xgboost.QuantileDMatrix(train, y[features.train], max_bin=BINS, nthread=1)
    for _ in range(2):  # the second fit finds its rows in the cache
        fitted = list(XGBOOST.fit(features, prep, params, rounds, 0))
        for count, scores in zip(rounds, fitted, strict=True):
            settings = {**own, **objective, "max_bin": BINS, "nthread": 1, "seed": 0}
            booster = xgboost.train(settings, matrix, count)
            margin = booster.inplace_predict(test, predict_type="margin")
            expected = np.column_stack([-margin, margin]) / 2 if classes == 2 else margin
            np.testing.assert_array_equal(scores, expected)
