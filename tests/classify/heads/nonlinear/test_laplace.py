"""Laplace's approximation against scikit-learn's classifier, and the modes against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from layerprobe.classify.heads.nonlinear.laplace import fit_laplace


def made(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    y = np.arange(150) % classes
    rows = rng.standard_normal((200, 6)) + np.eye(classes, 6)[np.arange(200) % classes]
    return rows[:150].astype(np.float32), y, rows[150:].astype(np.float32)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("length", "variance"), [(0.7, 0.1), (3.0, 10.0), (1.0, 1000.0), (20.0, 1000.0)])
def test_probabilities_are_those_of_scikit_learn(classes: int, length: float, variance: float) -> None:
    train, y, test = made(classes)
    kernel = ConstantKernel(variance, "fixed") * RBF(length, "fixed")
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(train.astype(np.float64), y)
    fitted = fit_laplace(train, y, classes=classes, length=length, variance=variance)
    expected = model.predict_proba(test.astype(np.float64))
    np.testing.assert_allclose(np.exp(fitted.scores(test)), expected, atol=2e-5)


def test_the_gradient_is_zero_at_the_modes() -> None:
    """f = K (y - p), for the strongest prior that a search tries, on clips of which some are equal."""
    train, y, _ = made(3)
    train[75:] = train[:75]
    fitted = fit_laplace(train, y, classes=3, length=2.0, variance=1000.0)
    squares = np.square(train[:, None].astype(np.float64) - train).sum(-1)
    K = 1000.0 * np.exp(-squares / 8)
    for number in range(3):
        p = expit(K @ fitted.slopes[:, number])
        np.testing.assert_allclose((y == number) - p, fitted.slopes[:, number], atol=1e-5)
        np.testing.assert_allclose(np.sqrt(p * (1 - p)), fitted.roots[:, number], atol=1e-4)
