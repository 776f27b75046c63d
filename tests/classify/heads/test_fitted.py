"""Heads refitted for other clips score them as the search's own fits do, also after a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.fitted import FittedInputs, FittedLayer
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.fitted import SKOPS, TrainingRows, kernel_rows
from layerprobe.classify.heads.registry import HEADS, KINDS, REGRESSION_HEADS
from tests.studies import made_features, made_numbers

SVM = {"C": 3.0, "class_weight": "balanced"}
TREES = {**HEADS["xgboost"].start}
CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("logreg", "", {"class_weight": "balanced"}, "linear"),
    ("svm", "", {"kernel": "rbf", "gamma": 0.7, **SVM}, "svc"),
    ("svm", "wide", {"kernel": "linear", **SVM}, "svc"),
    ("svm", "", {"kernel": "linear", **SVM}, "linear"),
    ("svm", "landmarks", {"kernel": "rbf", "gamma": 0.7, **SVM}, "kernel"),
    ("xgboost", "", TREES, "trees"),
    ("majority", "", {}, "constant"),
    ("ridge", "", {"class_weight": "balanced"}, "linear"),
    ("ridge", "wide", {"class_weight": "none"}, "linear"),
    ("lda", "", {"class_weight": "balanced"}, "linear"),
    ("lda", "wide", {"class_weight": "none"}, "linear"),
    ("knn", "", {"class_weight": "balanced"}, "neighbours"),
]


def fold(variant: str, *, classes: int) -> tuple[FoldFeatures, np.ndarray]:
    shared, X, y = made_features(rows=300, width=40 if variant == "wide" else 12, classes=classes)
    if variant == "landmarks":
        chosen = np.arange(0, len(shared.train), 2)
        shared = FoldFeatures(
            shared.layers, y, train=shared.train, test=shared.test, classes=classes,
            cache=LruCache(1 << 30), landmarks=chosen,
        )  # fmt: skip
    return shared, X


def inputs_of(shared: FoldFeatures, X: np.ndarray, prep: Preprocessing, *, kernel: bool) -> FittedInputs:
    columns = shared.layers[0].columns(prep.stats)
    share = 1.0 if kernel else None
    fitted, Z = FittedLayer.fit("7", columns[shared.train], prep, shared.layers[0].speakers, share=share)
    np.testing.assert_allclose(Z, fitted.apply(columns[shared.train]), atol=1e-6)
    expected = shared.inputs(prep)[0] * np.float32(fitted.weight)
    np.testing.assert_allclose(Z, expected, atol=1e-4 * np.abs(expected).max())
    return FittedInputs((fitted,))


def test_no_clip_is_nearer_to_itself_than_at_distance_0() -> None:
    """Rounding makes some squared distances of equal rows negative."""
    Z = (1_000 + np.random.default_rng(0).standard_normal((50, 40))).astype(np.float32)
    kernel = kernel_rows(Z, Z, gamma=10.0)
    assert kernel.max() <= 1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("prep", [("mean+std", "standard", 0), ("std", "l2", 8), ("mean", "none", 0)])
@pytest.mark.parametrize(("head", "variant", "params", "kind"), CASES)
def test_a_refitted_head_scores_as_the_search_does(
    head: str, variant: str, params: dict[str, Any], kind: str, prep: tuple[str, Any, int], classes: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    if variant == "wide" and prep[2]:
        prep = (*prep[:2], 0)
    preprocessing = Preprocessing(*prep)
    shared, X = fold(variant, classes=classes)
    one = HEADS[head]
    value = one.path[1][-2] if len(one.path[1]) > 1 else one.path[1][0]
    (expected,) = one.fit(shared, preprocessing, params, [value], 0)

    inputs = inputs_of(shared, X, preprocessing, kernel=one.kernel)
    states = {"7": shared.layers[0].columns(preprocessing.stats)}
    Z = inputs.apply({"7": states["7"][shared.train]})
    rows = TrainingRows(Z=Z, y=shared.y, classes=classes, landmarks=shared.landmarks)
    assert one.refit is not None
    fitted = one.refit(rows, params, value, 0)
    assert fitted.kind == kind

    loaded_inputs = FittedInputs.load(inputs.settings(), inputs.arrays())
    loaded = KINDS[fitted.kind].load(tmp_path, fitted.save(tmp_path))
    test = {"7": states["7"][shared.test]}
    for scores in (fitted.scores(inputs.apply(test)), loaded.scores(loaded_inputs.apply(test))):
        assert (scores.argmax(1) == expected.argmax(1)).mean() >= 0.99
        np.testing.assert_allclose(softmax(scores, 1), softmax(expected, 1), atol=2e-3)


def test_a_vector_machine_is_scikit_learns_own(tmp_path: Path) -> None:
    from skops.io import load

    shared, X = fold("", classes=3)
    prep = Preprocessing("mean+std", "standard")
    inputs = inputs_of(shared, X, prep, kernel=True)
    Z = inputs.apply({"7": shared.layers[0].columns(prep.stats)})
    rows = TrainingRows(Z=Z[shared.train], y=shared.y, classes=3, landmarks=None)
    refit = HEADS["svm"].refit
    assert refit is not None
    fitted = refit(rows, {"kernel": "rbf", "gamma": 0.7, **SVM}, 1.0, 0)
    fitted.save(tmp_path)
    svc = load(tmp_path / SKOPS, trusted=[])
    np.testing.assert_array_equal(svc.predict(Z), fitted.scores(Z).argmax(1))
    np.testing.assert_allclose(svc.decision_function(Z), fitted.scores(Z), atol=1e-3)


def test_another_object_in_a_skops_file_is_refused(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    from skops.io import dump

    for other, what in ((FunctionTransformer(print), "print"), (StandardScaler(), "StandardScaler")):
        dump(other, tmp_path / SKOPS)
        with pytest.raises(InputError, match=what):
            KINDS["svc"].load(tmp_path, {})
    (tmp_path / SKOPS).write_bytes(b"PK\3\4 damaged")
    with pytest.raises(InputError, match="damaged"):
        KINDS["svc"].load(tmp_path, {})


NUMBER_CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("ridge", "", {}, "linear"),
    ("ridge", "wide", {}, "linear"),
    ("svm", "", {"kernel": "rbf", "C": 3.0, "epsilon": 0.1, "gamma": 0.7}, "kernel"),
    ("svm", "wide", {"kernel": "linear", "C": 3.0, "epsilon": 0.1}, "kernel"),
    ("svm", "", {"kernel": "linear", "C": 3.0, "epsilon": 0.1}, "linear"),
    ("svm", "landmarks", {"kernel": "rbf", "C": 3.0, "epsilon": 0.1, "gamma": 0.7}, "kernel"),
    ("xgboost", "", dict(REGRESSION_HEADS["xgboost"].start), "trees"),
    ("mean", "", {}, "constant"),
]


@pytest.mark.parametrize("prep", [("mean+std", "standard", 0), ("std", "l2", 8)])
@pytest.mark.parametrize(("head", "variant", "params", "kind"), NUMBER_CASES)
def test_a_refitted_regression_predicts_as_the_search_does(
    head: str, variant: str, params: dict[str, Any], kind: str, prep: tuple[str, Any, int], tmp_path: Path
) -> None:
    if variant == "wide" and prep[2]:
        prep = (*prep[:2], 0)
    shared, X, y = made_numbers(rows=300, width=40 if variant == "wide" else 12)
    if variant == "landmarks":
        shared.landmarks = np.arange(0, len(shared.train), 2)
    preprocessing, one = Preprocessing(*prep), REGRESSION_HEADS[head]
    value = one.path[1][-2] if len(one.path[1]) > 1 else one.path[1][0]
    (expected,) = one.fit(shared, preprocessing, params, [value], 0)
    inputs = inputs_of(shared, X, preprocessing, kernel=one.kernel)
    states = {"7": shared.layers[0].columns(preprocessing.stats)}
    Z = inputs.apply({"7": states["7"][shared.train]})
    rows = TrainingRows(Z=Z, y=shared.y, classes=0, landmarks=shared.landmarks)
    assert one.refit is not None
    fitted = one.refit(rows, params, value, 0)
    assert fitted.kind == kind
    loaded = KINDS[fitted.kind].load(tmp_path, fitted.save(tmp_path))
    for scores in (one.scores(inputs.apply({"7": states["7"][shared.test]})) for one in (fitted, loaded)):
        assert scores.shape == (len(shared.test), 1)
        close = np.abs(scores - expected) < 0.02 * y.std()
        assert close.mean() >= (0.97 if head == "xgboost" else 1)
