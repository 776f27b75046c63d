from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC, SVR

from layerprobe.classify.features.fold_features import Preprocessing
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.heads.solvers import interior_point as hinge
from layerprobe.classify.heads.solvers.interior_point import NotSolvedError, fit_tube, separate
from tests.studies import made_features


def objective(Z: np.ndarray, positive: np.ndarray, C: np.ndarray, w: np.ndarray, b: float) -> float:
    sign = np.where(positive, 1, -1)
    return float(w @ w / 2 + (C * np.maximum(0, 1 - sign * (Z @ w + b))).sum())


def problem(rng: np.random.Generator, n: int, r: int, *, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Columns of falling variance, two classes `apart` deviations of the first."""
    positive = np.arange(n) % 3 == 0
    Z = rng.standard_normal((n, r)) * np.geomspace(1, 0.05, r)
    Z[:, 0] += apart * positive
    return Z - Z.mean(0), positive


@pytest.mark.filterwarnings("ignore:Solver terminated early")  # libsvm's, which is then no better for it
@settings(max_examples=60)
@given(
    n=st.integers(2, 120),
    r=st.integers(1, 12),
    power=st.integers(-3, 3),
    apart=st.sampled_from([0.0, 1.0, 30.0]),  # from no signal to separable classes
    twins=st.booleans(),
    seed=st.integers(0, 99),
)
def test_no_plane_is_better(n: int, r: int, power: int, apart: float, twins: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Z, positive = problem(rng, n, r, apart=apart)
    if twins:  # clips and columns that occur twice
        Z, positive = np.tile(Z, (2, 2)), np.tile(positive, 2)
    C = 10.0**power * np.where(positive, 2.0, 0.5)
    v = separate(Z, positive, C)
    svc = SVC(kernel="linear", tol=1e-5, C=1.0, max_iter=1_000_000).fit(Z, positive, sample_weight=C)
    reached = objective(Z, positive, C, v[:-1], v[-1])
    assert reached <= objective(Z, positive, C, svc.coef_[0], svc.intercept_[0]) * (1 + 1e-5)


def test_it_ends_where_smo_takes_a_hundred_thousand_steps() -> None:
    rng = np.random.default_rng(0)
    Z, positive = problem(rng, 600, 40, apart=0.5)
    C = np.full(600, 100.0)
    v = separate(Z, positive, C)
    slow = SVC(kernel="linear", C=100.0, tol=1e-4).fit(Z, positive)
    assert slow.n_iter_.sum() > 50_000
    np.testing.assert_allclose(v[:-1], slow.coef_[0], atol=1e-2 * np.abs(slow.coef_).max())
    assert v[-1] == pytest.approx(slow.intercept_[0], abs=1e-2)


def test_where_all_intercepts_of_an_interval_are_best_the_middle_is_taken_as_libsvm_does() -> None:
    rng = np.random.default_rng(0)
    Z, positive = rng.standard_normal((16, 2)), np.arange(16) % 2 == 0
    svc = SVC(kernel="linear", C=0.01).fit(Z, positive)
    assert svc.n_support_.tolist() == [8, 8]
    assert (np.abs(svc.dual_coef_) == 0.01).all()  # so that no margin is exactly 1
    v = separate(Z, positive, np.full(16, 0.01))
    np.testing.assert_allclose(v, [*svc.coef_[0], *svc.intercept_], atol=1e-6)


@pytest.mark.parametrize("C", [0.1, 0.3, 10.0])
@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_a_few_clips_of_seven_classes_are_classified_as_by_libsvm(C: float, weighting: str) -> None:
    features, _, _ = made_features(rows=147, width=6, classes=7)
    features = features.relabelled(np.arange(147) % 7)  # as many training clips of each
    prep = Preprocessing("mean", "standard")
    train, test = (part.astype(np.float64) for part in features.inputs(prep))
    params = {"kernel": "linear", "C": C, "class_weight": weighting}
    (scores,) = HEADS["svm"].fit(features, prep, params, [1.0], 0)
    power = np.square(train).sum() / len(train)
    expected = SVC(kernel="linear", C=C / power, tol=1e-6).fit(train, features.y).decision_function(test)
    np.testing.assert_array_equal(scores.argmax(1), expected.argmax(1))


def test_steps_that_bounds_shorten_do_not_cycle() -> None:
    """Six clips each, separable by a plane: with Mehrotra's full correction, every second step undoes one."""
    rng = np.random.default_rng(4)
    centre = rng.standard_normal((7, 5)) * 0.7
    Z = (rng.standard_normal((42, 5)) + np.repeat(centre, 6, axis=0))[6:18]
    separate(Z / 2.5, np.arange(12) < 6, np.full(12, 100.0))


def test_numbers_beyond_double_precision_are_an_error() -> None:
    Z = np.array([[1e200], [-1e200], [3e199]])
    with np.errstate(all="ignore"), pytest.raises(NotSolvedError):
        separate(Z, np.array([True, False, False]), np.ones(3))


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_the_head_gives_scikit_learns_scores(classes: int) -> None:
    features, _, _ = made_features(rows=600, width=6, classes=classes)
    train, test = (part.astype(np.float64) for part in features.inputs(Preprocessing("mean+std", "standard")))
    params = {"kernel": "linear", "C": 3.0, "class_weight": "balanced"}
    (scores,) = HEADS["svm"].fit(features, Preprocessing("mean+std", "standard"), params, [1.0], 0)
    power = np.square(train).sum() / len(train)
    svc = SVC(kernel="linear", C=3.0 / power, class_weight="balanced", tol=1e-6).fit(train, features.y)
    expected = svc.decision_function(test)
    np.testing.assert_allclose(scores[:, 1] if classes == 2 else scores, expected, atol=2e-3)
    np.testing.assert_array_equal(scores.argmax(1), expected > 0 if classes == 2 else expected.argmax(1))


def test_without_an_optimum_libsvm_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, _ = made_features(rows=600, width=6)
    params = {"kernel": "linear", "C": 3.0, "class_weight": "none"}
    (direct,) = HEADS["svm"].fit(features, Preprocessing("mean+std", "standard"), params, [1.0], 0)
    monkeypatch.setattr(hinge, "STEPS", 0)
    (fallback,) = HEADS["svm"].fit(features, Preprocessing("mean+std", "standard"), params, [1.0], 0)
    assert np.abs(direct - fallback).max() > 0  # two algorithms,
    np.testing.assert_array_equal(direct.argmax(1), fallback.argmax(1))  # the same predictions


@settings(max_examples=30)
@given(
    n=st.integers(3, 100),
    r=st.integers(1, 10),
    power=st.integers(-2, 2),
    epsilon=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
@pytest.mark.filterwarnings("ignore:Solver terminated early")
def test_no_tube_is_better(n: int, r: int, power: int, epsilon: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, r)) * np.geomspace(1, 0.1, r)
    y = Z @ rng.standard_normal(r) + 0.3 * rng.standard_normal(n)
    C = 10.0**power
    v = fit_tube(Z, y, C, epsilon)
    svr = SVR(kernel="linear", C=C, epsilon=epsilon, tol=1e-6, max_iter=1_000_000).fit(Z, y)

    def reached(w: np.ndarray, b: float) -> float:
        return float(w @ w / 2 + C * np.maximum(0, np.abs(y - Z @ w - b) - epsilon).sum())

    assert reached(v[:-1], v[-1]) <= reached(svr.coef_[0], svr.intercept_[0]) * (1 + 1e-4) + 1e-9
