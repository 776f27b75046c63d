from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import xgboost
from sklearn.svm import SVC

from benchmarks.plain import EXACT_TOLERANCE, Plain, power, preparation
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.boosting import quantised, settings
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.heads.solvers.newton import Solver
from layerprobe.classify.heads.svm import compute_kernel, decision
from tests.studies import made_features

LOGREG: list[dict[str, Any]] = [
    {"C": C, "class_weight": weight} for C in (0.03, 1.0, 30.0) for weight in ("none", "balanced")
]
SVM: list[dict[str, Any]] = [
    {"kernel": "rbf", "C": 3.0, "gamma": 1.0, "class_weight": "none"},
    {"kernel": "rbf", "C": 50.0, "gamma": 0.2, "class_weight": "balanced"},
    {"kernel": "linear", "C": 3.0, "class_weight": "balanced"},
    {"kernel": "linear", "C": 0.1, "class_weight": "none"},
]
XGBOOST: list[dict[str, Any]] = [
    {"rounds": 30, "max_depth": 3, "learning_rate": 0.3, "subsample": 0.8, "class_weight": "none"},
    {"rounds": 60, "max_depth": 2, "learning_rate": 0.1, "colsample_bytree": 0.5, "class_weight": "balanced"},
]
RIDGE = [
    {"alpha": alpha, "class_weight": weight} for alpha in (0.01, 10.0) for weight in ("none", "balanced")
]
LDA = [{"shrinkage": s, "class_weight": weight} for s in (0.01, 0.3) for weight in ("none", "balanced")]
KNN = [{"neighbours": k, "class_weight": "none"} for k in (1, 7, 50)]
CASES = {"logreg": LOGREG, "svm": SVM, "xgboost": XGBOOST, "ridge": RIDGE, "lda": LDA, "knn": KNN}
PREPS = [
    Preprocessing("mean+std", "standard"),
    Preprocessing("std", "l2"),
    Preprocessing("mean", "none"),
    Preprocessing("mean+std", "standard", 5),
    Preprocessing("mean", "l2", 4),
]
SHAPES = [
    (900, 12, 3),
    (600, 210, 4),
    (900, 10, 2),
]  # rows, columns of a statistic, classes; the second is wide


@pytest.mark.parametrize("head", CASES)
def test_shared_work_predicts_what_a_plain_pipeline_predicts(head: str) -> None:
    agree = []
    name, _ = HEADS[head].path
    for rows, width, classes in SHAPES:
        features, X, y = made_features(rows=rows, width=width, classes=classes)
        train, test = X[features.train].astype(np.float64), X[features.test].astype(np.float64)
        for prep in PREPS:
            steps = preparation(prep, stats=("mean", "std"), width=width)
            length = power(steps, train)
            for params in CASES[head]:
                own = {key: value for key, value in params.items() if key != name}
                path = name, (params.get(name, 1.0),)
                plain = Plain(
                    head=head, steps=steps, params=own, power=length, seed=0, tolerance=EXACT_TOLERANCE
                )
                (expected,) = plain.predict(path, train, y[features.train], test)
                (scores,) = HEADS[head].fit(features, prep, own, path[1], 0)
                agree.append(scores.argmax(1) == expected)
    assert np.concatenate(agree).mean() >= 0.999


@pytest.mark.parametrize("head", ["logreg", "xgboost", "ridge", "lda", "knn"])
def test_a_path_gives_what_single_fits_give(head: str) -> None:
    features, _, _ = made_features(rows=300)
    (name, values), prep = HEADS[head].path, Preprocessing("mean+std", "standard")
    params = dict(HEADS[head].start)
    together = list(HEADS[head].fit(features, prep, params, values, 0))
    for value, scores in zip(values, together, strict=True):
        (alone,) = HEADS[head].fit(features, prep, params, [value], 0)
        assert (scores.argmax(1) == alone.argmax(1)).mean() >= 0.99, (name, value)


@pytest.mark.parametrize("head", ["logreg", "xgboost"])
def test_a_path_that_is_left_early_has_cost_no_later_value(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, _, _ = made_features(rows=300)
    prep, params = Preprocessing("mean", "standard"), dict(HEADS[head].start)
    (_, values), calls = HEADS[head].path, list[str]()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            calls.append(function.__name__)
            return function(*given, **named)

        return call

    for kind, name in ((Solver, "solve"), (xgboost.Booster, "update")):
        monkeypatch.setattr(kind, name, counted(getattr(kind, name)))
    walk = iter(HEADS[head].fit(features, prep, params, values, 0))
    first, _ = next(walk), next(walk)
    assert len(calls) == (2 if head == "logreg" else values[1])
    (alone,) = HEADS[head].fit(features, prep, params, values[:1], 0)
    np.testing.assert_allclose(first, alone, atol=1e-3)


def test_one_booster_grows_the_trees_that_xgboost_trains() -> None:
    features, _, _ = made_features(rows=300)
    prep, params = Preprocessing("mean", "standard"), dict(HEADS["xgboost"].start)
    *_, scores = HEADS["xgboost"].fit(features, prep, params, (5, 12, 20), 3)
    matrix = quantised(features, prep, params["class_weight"])
    trained = xgboost.train(settings(params, classes=3, seed=3), matrix, 20)
    expected = trained.inplace_predict(features.inputs(prep)[1], predict_type="margin")
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_scores_of_an_svm_are_scikit_learns(classes: int) -> None:
    features, _, _ = made_features(rows=300, classes=classes)
    own, other = compute_kernel(features, Preprocessing("mean", "standard"), {"kernel": "rbf", "gamma": 0.7})
    svc = SVC(kernel="precomputed", C=2.0).fit(own, features.y)
    expected = svc.decision_function(other)
    for rows, close in ((other, 1e-4), (other.astype(np.float64), 1e-9)):
        scores = decision(svc, rows)
        np.testing.assert_allclose(scores[:, 1] if classes == 2 else scores, expected, atol=close)
    np.testing.assert_array_equal(scores.argmax(1), expected > 0 if classes == 2 else expected.argmax(1))


@pytest.mark.parametrize("name", ["rbf", "linear"])
def test_nystroem_comes_close_to_the_exact_kernel(name: str) -> None:
    exact, _, y = made_features(rows=900, signal=1.5)
    near = FoldFeatures(
        exact.layers,
        y,
        train=exact.train,
        test=exact.test,
        classes=3,
        cache=LruCache(1 << 30),
        landmarks=np.arange(0, len(exact.train), 2),
    )
    params = {"kernel": name, "C": 3.0, "gamma": 0.5, "class_weight": "balanced"}
    prep = Preprocessing("mean+std", "standard")
    truth = y[exact.test]
    exact_accuracy, approximate_accuracy = (
        (next(iter(HEADS["svm"].fit(features, prep, params, [1.0], 0))).argmax(1) == truth).mean()
        for features in (exact, near)
    )
    assert exact_accuracy > 0.6
    assert abs(exact_accuracy - approximate_accuracy) < 0.03


def test_majority_scores_by_frequency() -> None:
    features, _, _ = made_features(rows=100, classes=2)
    features.y = np.array([0] * 50 + [1] * 16)
    (scores,) = HEADS["majority"].fit(features, Preprocessing("mean", "none"), {}, [1.0], 0)
    assert scores.shape == (len(features.test), 2)
    np.testing.assert_allclose(np.exp(scores[0]), [50 / 66, 16 / 66])


@pytest.mark.parametrize("head", HEADS)
def test_the_first_trial_is_in_the_search_space(head: str) -> None:
    drawn = optuna.trial.FixedTrial(dict(HEADS[head].start))
    assert HEADS[head].space(drawn) == dict(HEADS[head].start)
