from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from layerprobe.classify.heads.solvers import newton as solver
from layerprobe.classify.heads.solvers.newton import Loss, Solver, cross_entropy, squared_hinge


def problem(n: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal columns of falling variance, as principal components are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.standard_normal((n, width)) + rng.standard_normal((classes, width))[y]
    U, _, _ = np.linalg.svd(X - X.mean(0), full_matrices=False)
    return (U * np.geomspace(30, 0.1, width)).astype(np.float32), y


@pytest.mark.parametrize("penalty", [1000.0, 10.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_reaches_scikit_learns_optimum(penalty: float, weighted: bool) -> None:
    Z, y = problem(300, 20, 3, seed=0)
    weight = np.where(y == 0, 2.0, 0.5) if weighted else np.ones(len(y))
    W, b = Solver(Z, y, weight, classes=3, loss=cross_entropy, curvature=1 / 3).solve(penalty=penalty)
    reference = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10_000)
    reference.fit(Z.astype(np.float64), y, sample_weight=weight)
    np.testing.assert_allclose(softmax(Z @ W + b, axis=1), reference.predict_proba(Z), atol=1e-4)


def test_squared_hinge_reaches_the_linear_svms_optimum() -> None:
    Z, y = problem(300, 20, 3, seed=1)
    W, b = Solver(Z, y, np.ones(300), classes=3, loss=squared_hinge, curvature=2.0).solve(penalty=1.0)
    # liblinear halves the penalty but not the loss, and penalises the intercept unless it is scaled up.
    reference = LinearSVC(C=1.0, dual=False, tol=1e-8, max_iter=100_000, intercept_scaling=1000.0)
    reference.fit(Z.astype(np.float64), y)
    np.testing.assert_allclose(Z @ W + b, reference.decision_function(Z), atol=2e-3)


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    Z, y = problem(200, 15, 4, seed=2)
    warm = Solver(Z, y, np.ones(200), classes=4, loss=cross_entropy, curvature=1 / 4)
    for penalty in (100.0, 10.0, 1.0):
        W, b = warm.solve(penalty=penalty)
    cold = Solver(Z, y, np.ones(200), classes=4, loss=cross_entropy, curvature=1 / 4)
    V, c = cold.solve(penalty=1.0)
    np.testing.assert_allclose(Z @ W + b, Z @ V + c, atol=1e-3)


def test_a_weak_penalty_on_seven_separable_classes_reaches_the_optimum() -> None:
    """Scores are then large and the objective flat: stopping early would change predictions."""
    Z, y = problem(300, 60, 7, seed=3)
    W, b = Solver(Z, y, np.ones(300), classes=7, loss=cross_entropy, curvature=1 / 7).solve(penalty=0.01)
    reference = LogisticRegression(C=100.0, tol=1e-10, max_iter=100_000).fit(Z.astype(np.float64), y)
    expected = reference.decision_function(Z)
    assert np.abs(expected).max() > 10
    scores = Z @ W + b
    np.testing.assert_allclose(scores - scores.mean(1, keepdims=True), expected, atol=5e-3)


@pytest.mark.parametrize(("penalty", "classes"), [(300.0, 3), (1.0, 3), (0.1, 5)])
def test_columns_that_are_not_orthogonal_are_solved_as_their_rotation(penalty: float, classes: int) -> None:
    Z, y = problem(300, 20, classes, seed=4)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))
    X = (Z @ rotation).astype(np.float32)
    weight = np.where(y == 0, 2.0, 0.5)
    settings: Any = {"classes": classes, "loss": cross_entropy, "curvature": 1 / classes}
    W, b = Solver(X, y, weight, **settings, rotated=False).solve(penalty=penalty)
    reference = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10_000)
    reference.fit(X.astype(np.float64), y, sample_weight=weight)
    np.testing.assert_allclose(softmax(X @ W + b, axis=1), reference.predict_proba(X), atol=1e-4)
    V, c = Solver(Z, y, weight, **settings).solve(penalty=penalty)
    np.testing.assert_allclose(X @ W + b, Z @ V + c, atol=1e-3)


def test_a_solution_is_known_without_reading_the_rows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y = problem(200, 15, 3, seed=2)
    fitted = Solver(Z, y, np.ones(200), classes=3, loss=cross_entropy, curvature=1 / 3)
    W, b = fitted.solve(penalty=1.0)
    for name in ("_scores", "_hessian_product", "_iterate"):
        monkeypatch.setattr(fitted, name, None)  # the passes over Z
    again, c = fitted.solve(penalty=1.0)
    np.testing.assert_array_equal(again, W)
    np.testing.assert_array_equal(c, b)


def test_scores_are_computed_from_the_weights_once_for_each_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between, they follow the steps."""
    Z, y = problem(300, 40, 3, seed=5)
    fitted = Solver(Z, y, np.ones(300), classes=3, loss=cross_entropy, curvature=1 / 3)
    calls, compute = list[int](), fitted._scores

    def counted(W: np.ndarray) -> np.ndarray:
        calls.append(1)
        return compute(W)

    monkeypatch.setattr(fitted, "_scores", counted)
    penalties = [100.0, 10.0, 1.0, 0.1]
    for penalty in penalties:
        fitted.solve(penalty=penalty)
    assert len(penalties) <= len(calls) <= 2 * len(penalties)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y = problem(300, 20, 3, seed=0)
    one_block = Solver(Z, y, np.ones(300), classes=3, loss=cross_entropy, curvature=1 / 3).solve(penalty=1.0)
    monkeypatch.setattr(solver, "ROWS", 7)
    blocks = Solver(Z, y, np.ones(300), classes=3, loss=cross_entropy, curvature=1 / 3).solve(penalty=1.0)
    for one, other in zip(one_block, blocks, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@given(classes=st.integers(2, 5), seed=st.integers(0, 50))
@pytest.mark.parametrize("loss", [cross_entropy, squared_hinge])
def test_losses_have_the_derivatives_they_return(loss: Loss, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, 6)
    scores = 2 * rng.standard_normal((6, classes))

    def value(flat: np.ndarray) -> float:
        return float(loss(flat.reshape(6, classes), y)[0].sum())

    def slope(flat: np.ndarray) -> np.ndarray:
        return loss(flat.reshape(6, classes), y)[1].ravel()

    assert check_grad(value, slope, scores.ravel()) < 1e-4
    change = rng.standard_normal((6, classes)).astype(np.float32)
    _, here, curvature = loss(scores, y)
    _, there, _ = loss(scores + 1e-6 * change, y)
    np.testing.assert_allclose(curvature(change), (there - here) / 1e-6, atol=1e-4)


def test_large_scores_do_not_overflow() -> None:
    losses, slopes, _ = cross_entropy(np.array([[1000.0, -1000.0], [-1000.0, 1000.0]]), np.array([0, 0]))
    np.testing.assert_allclose(losses, [0, 2000])
    np.testing.assert_allclose(slopes, [[0, 0], [-1, 1]])
