from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.registry import HEADS, KINDS, heads_of
from tests.studies import made_features

PREP = Preprocessing("mean", "standard")


def made_sets() -> tuple[FoldFeatures, np.ndarray]:
    """Features of clips with the label of their class, and those of class 1 with another one; y (N, 4)."""
    shared, _, y = made_features(rows=240)
    sets = np.column_stack([y == 0, y == 1, y == 2, y == 1])
    features = FoldFeatures(
        shared.layers, sets, train=shared.train, test=shared.test, classes=4, cache=LruCache(1 << 30)
    )
    return features, sets


@pytest.mark.parametrize("head", ["logreg", "svm", "xgboost", "ridge"])
def test_each_label_is_fitted_as_two_classes_and_saved(head: str, tmp_path: Path) -> None:
    features, y = made_sets()
    one, params = heads_of("multilabel")[head], dict(HEADS[head].start)
    values = one.path[1][:2]
    found = list(one.fit(features, PREP, params, values, 0))
    for label in (0, 3):
        binary = FoldFeatures(
            features.layers, y[:, label].astype(int), train=features.train, test=features.test, classes=2,
            cache=LruCache(1 << 30),
        )  # fmt: skip
        for scores, alone in zip(found, HEADS[head].fit(binary, PREP, params, values, 0), strict=True):
            np.testing.assert_allclose(scores[:, label], alone[:, 1] - alone[:, 0], atol=1e-5)
    np.testing.assert_allclose(found[0][:, 1], found[0][:, 3])
    train, test = features.inputs(PREP)
    factor = np.float32(features.power(PREP) ** -0.5 if one.kernel else 1)
    rows = TrainingRows(Z=train * factor, y=features.y, classes=4, landmarks=None)
    assert one.refit is not None
    fitted = one.refit(rows, params, values[0], 0)
    loaded = KINDS[fitted.kind].load(tmp_path, fitted.save(tmp_path))
    assert all(path.name.count(".") == 2 for path in tmp_path.iterdir())
    for each in (fitted, loaded):
        decided = each.scores(test * factor) > 0
        assert (decided == (found[0] > 0)).mean() > 0.99
