"""Heads on states that are read in blocks find what they find in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.row_weights import row_weights
from layerprobe.classify.features.streamed import rows as streamed_rows
from layerprobe.classify.features.streamed.fitted import fit_streamed
from layerprobe.classify.features.streamed.fold import StreamedFold
from layerprobe.classify.features.streamed.rows import StreamedRows
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.registry import HEADS, head_of, heads_of
from layerprobe.classify.heads.solvers import newton
from layerprobe.classify.heads.structured.one_vs_rest import of_label
from tests.streamed import both_folds

STANDARD = Preprocessing("mean+std", "standard")
LINEAR = {"kernel": "linear", "C": 3.0, "class_weight": "balanced"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of rows, in XGBoost and in the solver, and a preconditioner of some of the rows."""
    monkeypatch.setattr(streamed_rows, "BLOCK_BYTES", 4 * 24 * 50)
    monkeypatch.setattr(newton, "ROWS", 37)
    monkeypatch.setattr(newton, "SAMPLE", 90)


@pytest.fixture(scope="module")
def folds() -> tuple[FoldFeatures, StreamedFold]:
    return both_folds()


def scores(
    features: FoldFeatures, head: str, prep: Preprocessing, params: dict[str, Any]
) -> list[np.ndarray]:
    """For each value of the head's path, the scores of the test rows."""
    one = head_of("classification", head, streamed=features.streamed)
    return list(one.fit(features, prep, params, one.path[1], 0))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("prep", [
    STANDARD, Preprocessing("std", "l2"), Preprocessing("mean+std", "speaker"),
    Preprocessing("mean+std", "none"), Preprocessing("mean+std", "standard", 5),
])  # fmt: skip
def test_logistic_regression_has_the_scores_of_memory(
    prep: Preprocessing, weight: str, folds: tuple[FoldFeatures, StreamedFold]
) -> None:
    memory, streamed = (scores(fold, "logreg", prep, {"class_weight": weight}) for fold in folds)
    assert len(streamed) == 7
    for found, expected in zip(streamed, memory, strict=True):
        close(found, expected)


def test_logistic_regression_is_that_of_scikit_learn(folds: tuple[FoldFeatures, StreamedFold]) -> None:
    memory, streamed = folds
    train, test = memory.inputs(STANDARD)
    C = HEADS["logreg"].path[1][2]
    one = LogisticRegression(C=C / memory.power(STANDARD), tol=1e-8, max_iter=10_000, class_weight="balanced")
    expected = one.fit(train, memory.y).predict_proba(test)
    found = np.exp(scores(streamed, "logreg", STANDARD, {"class_weight": "balanced"})[2])
    np.testing.assert_allclose(found / found.sum(1, keepdims=True), expected, atol=1e-4)


@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("prep", [STANDARD, Preprocessing("std", "l2"), Preprocessing("mean+std", "none", 5)])
def test_ridge_has_the_scores_of_memory(
    prep: Preprocessing, weight: str, folds: tuple[FoldFeatures, StreamedFold]
) -> None:
    params = {"class_weight": weight}
    memory, streamed = (scores(fold, "ridge", prep, params) for fold in folds)
    for found, expected in zip(streamed, memory, strict=True):
        close(found, expected)
    alone, with_others = HEADS["ridge"].fit(folds[1], prep, params, [10.0], 0), streamed[3]
    close(next(iter(alone)), with_others)


def test_shuffled_labels_have_the_scores_of_memory(folds: tuple[FoldFeatures, StreamedFold]) -> None:
    y = np.random.default_rng(1).integers(0, 3, 240)
    one = [HEADS["logreg"].fit(f.relabelled(y), STANDARD, {"class_weight": "none"}, [3.0], 0) for f in folds]
    (memory,), (streamed,) = map(list, one)
    close(streamed, memory)


@pytest.mark.parametrize("prep", [STANDARD, Preprocessing("mean+std", "l2")])
def test_a_linear_svm_minimises_its_objective(
    prep: Preprocessing, folds: tuple[FoldFeatures, StreamedFold]
) -> None:
    """At the optimum of squared hinge losses, one class against the rest, the gradient is zero."""
    memory, streamed = folds
    (found,) = scores(streamed, "svm", prep, LINEAR)
    train, test = (rows.astype(np.float64) / memory.power(prep) ** 0.5 for rows in memory.inputs(prep))
    weight = 3.0 * row_weights(memory.y, "balanced", classes=3)
    W = np.linalg.lstsq(np.column_stack([test, np.ones(len(test))]), found, rcond=None)[0]
    np.testing.assert_allclose(test @ W[:-1] + W[-1], found, atol=1e-4)  # the scores are linear
    sign = np.where(memory.y[:, None] == np.arange(3), 1.0, -1.0)
    slopes = -2 * weight[:, None] * sign * np.maximum(0, 1 - sign * (train @ W[:-1] + W[-1]))
    np.testing.assert_allclose(W[:-1] + train.T @ slopes, 0, atol=2e-2)
    np.testing.assert_allclose(slopes.sum(0), 0, atol=2e-2)


def test_a_linear_svm_is_that_of_kernels_with_all_rows_as_landmarks(
    folds: tuple[FoldFeatures, StreamedFold], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, streamed = folds
    monkeypatch.setattr("layerprobe.classify.heads.svm.MOST_COLUMNS", 0)
    monkeypatch.setattr(memory, "landmarks", np.arange(len(memory.train)))
    (expected,) = scores(memory, "svm", STANDARD, LINEAR)
    (found,) = scores(streamed, "svm", STANDARD, LINEAR)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_a_linear_svm_on_components_is_that_of_memory(folds: tuple[FoldFeatures, StreamedFold]) -> None:
    prep = Preprocessing("mean+std", "standard", 5)
    (memory,), (streamed,) = (scores(fold, "svm", prep, LINEAR) for fold in folds)
    close(streamed, memory)


@pytest.mark.parametrize("prep", [STANDARD, Preprocessing("mean+std", "standard", 5)])
def test_trees_are_those_of_memory(prep: Preprocessing, folds: tuple[FoldFeatures, StreamedFold]) -> None:
    params = dict(HEADS["xgboost"].start)
    memory, streamed = (scores(fold, "xgboost", prep, params) for fold in folds)
    for found, expected in zip(streamed, memory, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("pca", [0, 5])
@pytest.mark.parametrize("head", ["logreg", "svm", "xgboost", "ridge"])
def test_a_refit_scores_clips_as_the_fit_does(head: str, pca: int) -> None:
    """A fold whose training part is every clip, against the head of a bundle."""
    _, streamed = both_folds(shuffled=False)
    (states,) = streamed.layers
    y = np.concatenate([streamed.y, streamed.y[:80]])
    everything = np.arange(240)
    fold = StreamedFold(
        (states,), y, train=everything, test=everything, classes=3, cache=streamed._cache.section("all")
    )
    one, prep = head_of("classification", head, streamed=True), Preprocessing("mean+std", "standard", pca)
    params, value = dict(one.start), one.path[1][-1]
    (expected,) = one.fit(fold, prep, params, [value], 0)
    fitted, Z = fit_streamed("3", states, prep, y, classes=3, kernel=one.kernel)
    assert isinstance(Z, np.ndarray) == bool(pca)
    assert one.refit is not None
    made = one.refit(TrainingRows(Z=Z, y=y, classes=3, streamed=True), params, value, 0)
    close(made.scores(fitted.apply(states.load())), np.asarray(expected))


def test_a_refit_of_rows_in_memory_is_that_of_streamed_rows() -> None:
    _, streamed = both_folds()
    (states,) = streamed.layers
    y = np.arange(240) % 3
    fitted, rows = fit_streamed("3", states, STANDARD, y, classes=3, kernel=False)
    assert isinstance(rows, StreamedRows)
    params = dict(HEADS["logreg"].start)
    refit = HEADS["logreg"].refit
    assert refit is not None
    Z = fitted.apply(states.load())
    both: list[Any] = [rows, Z]
    made = [refit(TrainingRows(Z=one, y=y, classes=3), params, 3.0, 0).scores(Z) for one in both]
    close(*made)


def test_sets_of_labels_stream_too(folds: tuple[FoldFeatures, StreamedFold]) -> None:
    head = heads_of("multilabel")["logreg"]
    assert head.streamed is not None
    found = []
    for fold, one in zip(folds, (head, head.streamed), strict=True):
        fold = of_labels(fold)
        (scores,) = one.fit(fold, STANDARD, {"class_weight": "balanced"}, [3.0], 0)
        found.append(np.asarray(scores))
    np.testing.assert_allclose(found[1], found[0], atol=1e-3 * np.abs(found[0]).max())


def test_shares_of_votes_stream_too(folds: tuple[FoldFeatures, StreamedFold]) -> None:
    head = heads_of("soft")["logreg"]
    assert head.streamed is not None
    assert heads_of("soft")["xgboost"].streamed is None  # which is given copies of rows
    shares = np.random.default_rng(2).dirichlet(np.ones(3), 240)
    found = []
    for fold, one in zip(folds, (head, head.streamed), strict=True):
        (scores,) = one.fit(fold.relabelled(shares), STANDARD, {"class_weight": "balanced"}, [3.0], 0)
        found.append(np.asarray(scores))
    np.testing.assert_allclose(found[1], found[0], atol=1e-3 * np.abs(found[0]).max())


def of_labels(fold: FoldFeatures) -> FoldFeatures:
    """The fold with sets of two labels."""
    other = of_label(fold.relabelled(np.zeros((240, 2), bool)), 0)  # a copy
    other.y, other.classes = np.stack([fold.y == 0, fold.y != 2], axis=1), 2
    return other


def test_only_heads_that_can_stream_say_so() -> None:
    assert {name for name, head in HEADS.items() if head.streamed is not None} == {
        *("logreg", "svm", "xgboost", "ridge"),
    }
    assert head_of("classification", "knn", streamed=True) is HEADS["knn"]
    streamed = head_of("classification", "svm", streamed=True)
    assert streamed.start["kernel"] == "linear"
    assert head_of("classification", "svm", streamed=False) is HEADS["svm"]
