"""Support vector regression with an RBF or a linear kernel, on the products and distances of the classifier.

Numbers are standardised by the training clips, so that `C` and `epsilon` do not depend on their unit:
scikit-learn's are those times the deviation. `gamma`, and `C` of the linear kernel, are relative to the
inputs' power, as of the head `svm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import optuna
import sklearn
from sklearn.svm import SVR

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.fitted import FittedHead, Kernel, Linear, TrainingRows, kernel_rows
from layerprobe.classify.heads.solvers.interior_point import NotSolvedError, fit_tube
from layerprobe.classify.heads.solvers.newton import Curvature, Loss, Solver
from layerprobe.classify.heads.svm import compute_kernel, few_columns, nystroem_root


def space(trial: optuna.Trial) -> Params:
    params: Params = {
        "kernel": trial.suggest_categorical("kernel", ["rbf", "linear"]),
        "C": trial.suggest_float("C", 1e-2, 1e2, log=True),
        "epsilon": trial.suggest_float("epsilon", 1e-2, 1.0, log=True),
    }
    if params["kernel"] == "rbf":
        params["gamma"] = trial.suggest_float("gamma", 3e-2, 1e1, log=True)
    return params


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    scale, offset = float(features.y.std()), float(features.y.mean())
    y, C, epsilon = (features.y - offset) / scale, params["C"], params["epsilon"]
    if params["kernel"] == "linear" and not prep.mix:
        train, test = features.inputs(prep)
        if few_columns(train):
            root = np.sqrt(features.power(prep))
            with suppress(NotSolvedError):
                w = fit_tube(train / root, y, C, epsilon)
                return [(test / root @ w[:-1] + w[-1])[:, None] * scale + offset]
    train, test = compute_kernel(features, prep, params)
    if features.landmarks is not None:
        W, b = _nystroem(train, features.landmarks, y, C, epsilon)
    else:
        W, b = _solve(train, y, C, epsilon)
    return [(test @ W + b) * scale + offset]


def _solve(kernel: np.ndarray, y: np.ndarray, C: float, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n, 1) of the columns of a kernel (n, n) float64, and the intercept (1,)."""
    svr = SVR(kernel="precomputed", C=C, epsilon=epsilon)
    # States are checked when stored, and parameters are ours: scikit-learn need not check either.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        svr.fit(kernel, y)
    W = np.zeros((len(y), 1))
    W[svr.support_, 0] = svr.dual_coef_[0]
    return W, svr.intercept_


def _nystroem(
    kernel: np.ndarray, landmarks: np.ndarray, y: np.ndarray, C: float, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (a, 1) of a kernel's columns and intercept (1,), with the squared distance from the tube.

    kernel: (n, a), training rows × landmarks; see `svm.nystroem_root`.
    """
    root = nystroem_root(kernel, landmarks)
    rows = kernel.astype(np.float32) @ root
    solver = Solver(rows, y, np.ones(len(y)), classes=1, loss=squared_tube(epsilon), curvature=2.0)
    W, b = solver.solve(penalty=1 / C)
    return root @ W, b


def squared_tube(epsilon: float) -> Loss:
    """max(0, |y − score| − epsilon)². Its second derivative is at most 2."""

    def loss(scores: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, Curvature]:
        error = scores - y[:, None]
        beyond = np.sign(error) * np.maximum(0, np.abs(error) - epsilon)
        second = np.where(beyond != 0, np.float32(2), np.float32(0))
        return np.square(beyond[:, 0]), 2 * beyond, lambda changes: second * changes

    return loss


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit`, on inputs whose power is 1 (see `Head.refit`), to score clips that are not known yet."""
    Z, C, epsilon = rows.Z, params["C"], params["epsilon"]
    scale, offset = float(rows.y.std()), float(rows.y.mean())
    y = (rows.y - offset) / scale
    gamma = None if params["kernel"] == "linear" else float(params["gamma"])
    if gamma is None and few_columns(Z):
        with suppress(NotSolvedError):
            w = fit_tube(Z.astype(np.float64), y, C, epsilon)
            return Linear(W=w[:-1, None] * scale, b=w[-1:] * scale + offset, classes=1)
    landmarks = np.arange(len(Z)) if rows.landmarks is None else rows.landmarks
    kernel = kernel_rows(Z, Z[landmarks], gamma).astype(np.float64)
    if rows.landmarks is None:
        W, b = _solve(kernel, y, C, epsilon)
    else:
        W, b = _nystroem(kernel, landmarks, y, C, epsilon)
    used = np.flatnonzero(W[:, 0])
    return Kernel(anchors=Z[landmarks[used]], W=W[used] * scale, b=b * scale + offset, gamma=gamma)


SVR_HEAD = Head(
    space=space,
    fit=fit,
    start={"kernel": "rbf", "C": 1.0, "epsilon": 0.1, "gamma": 0.3},
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    kernel=True,
    refit=refit,
)
