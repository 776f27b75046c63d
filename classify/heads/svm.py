"""Support vector machine on kernels that all trials of a fold share, each class against each other.

`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`. So is `C` of the linear
kernel, whose inner products are divided by the power.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations

import numpy as np
import optuna
import scipy.linalg
import sklearn
from sklearn.svm import SVC

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.kernels import gram_matrix, squared_distances
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.interior_point import NotSolvedError, separate
from layerprobe.classify.heads.newton import Solver, squared_hinge

MOST_COLUMNS = 256  # up to which a linear machine is sought in the columns themselves
ROWS_PER_COLUMN = 8  # from which it is
LEAST = 1e-6  # of the largest eigenvalue of the anchors' kernel; below, directions are rounding
ROWS = 256  # of a kernel that are made at a time


def space(trial: optuna.Trial) -> Params:
    params: Params = {
        "kernel": trial.suggest_categorical("kernel", ["rbf", "linear"]),
        "C": trial.suggest_float("C", 1e-1, 1e2, log=True),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }
    if params["kernel"] == "rbf":
        params["gamma"] = trial.suggest_float("gamma", 1e-1, 1e1, log=True)
    return params


def fit(
    shared: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    if params["kernel"] == "linear" and not prep.mix:
        inputs = shared.arrays(prep)
        rows, columns = inputs[0].shape
        if columns <= min(MOST_COLUMNS, rows / ROWS_PER_COLUMN):
            with suppress(NotSolvedError):
                return [_linear(shared, *inputs, shared.power(prep), params)]
    if shared.landmarks is not None:
        return [_approximate(shared, *kernel(shared, prep, params), params)]
    own, other = kernel(shared, prep, params)
    svc = SVC(kernel="precomputed", C=params["C"])
    # Kernels of states that were checked when stored, and parameters of our own: scikit-learn need not look.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        svc.fit(own, shared.y, sample_weight=shared.weights(params["class_weight"]))
    return [decision(svc, other)]


def decision(svc: SVC, kernel: np.ndarray) -> np.ndarray:
    """(m, K) scores of (m, n) kernel rows, as scikit-learn's `decision_function`.

    From one matrix product instead of a sum for each pair of classes.
    """
    classes = len(svc.classes_)
    weights, intercepts = svc.dual_coef_, svc.intercept_
    if classes == 2:
        return vote(-(kernel[:, svc.support_] @ weights[0] + intercepts[0])[:, None], classes=2)
    ends = np.cumsum(svc.n_support_)
    of = [slice(end - count, end) for count, end in zip(svc.n_support_, ends, strict=True)]
    coefficients = np.zeros((kernel.shape[1], len(intercepts)), kernel.dtype)
    for column, (i, j) in zip(coefficients.T, combinations(range(classes), 2), strict=True):
        column[svc.support_[of[i]]] = weights[j - 1, of[i]]
        column[svc.support_[of[j]]] = weights[i, of[j]]
    return vote(kernel @ coefficients + intercepts, classes=classes)


def vote(values: np.ndarray, *, classes: int) -> np.ndarray:
    """(m, K) scores: each class's votes against the others, ties by confidence; of two, the confidence.

    values: (m, K (K - 1) / 2), positive for the first of a pair.
    """
    if classes == 2:
        return np.hstack([values, -values])
    votes, confidences = np.zeros((2, len(values), classes))
    for (i, j), value in zip(combinations(range(classes), 2), values.T, strict=True):
        votes[:, i] += value >= 0
        votes[:, j] += value < 0
        confidences[:, i] += value
        confidences[:, j] -= value
    return votes + confidences / (3 * (np.abs(confidences) + 1))


def _linear(
    shared: FoldFeatures, train: np.ndarray, test: np.ndarray, power: float, params: Params
) -> np.ndarray:
    """(m, K) scores of the machine that libsvm finds on a linear kernel, from the columns themselves."""
    Z, y = train / np.sqrt(power), shared.y
    C = params["C"] * shared.weights(params["class_weight"])
    planes = []
    for i, j in combinations(range(shared.classes), 2):
        rows = (y == i) | (y == j)
        planes.append(separate(Z[rows], y[rows] == i, C[rows]))
    W = np.stack(planes, axis=1)
    return vote(test / np.sqrt(power) @ W[:-1] + W[-1], classes=shared.classes)


def kernel(shared: FoldFeatures, prep: Preprocessing, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(n, a) and (m, a): linear, or exp(−gamma · squared distance / power).

    The first in double precision, as libsvm wants it. In the same arrays for every trial: the next call
    overwrites them.
    """
    linear = params["kernel"] == "linear"
    near, far = (gram_matrix if linear else squared_distances)(shared, prep)
    own, other = shared.cached(("kernels",), lambda: (np.empty(near.shape), np.empty_like(far)))
    if linear:
        own[...] = near
        return own, far
    for part, target in ((near, own), (far, other)):
        for begin in range(0, len(part), ROWS):
            rows = part[begin : begin + ROWS] * np.float32(-params["gamma"])
            target[begin : begin + ROWS] = np.exp(rows, out=rows)
    return own, other


def _approximate(shared: FoldFeatures, train: np.ndarray, test: np.ndarray, params: Params) -> np.ndarray:
    """(m, K) scores of a linear SVM on Nyström features (Williams & Seeger 2001), one class against the rest.

    With K the anchors' own kernel, rows of k(x, anchors) K^(−1/2) have inner products close to k(x, x').
    """
    values, vectors = scipy.linalg.eigh(train[shared.landmarks], check_finite=False, overwrite_a=True)
    known = values > LEAST * values[-1]
    root = (vectors[:, known] / np.sqrt(values[known])).astype(np.float32)
    solver = Solver(
        train.astype(np.float32) @ root,
        shared.y,
        shared.weights(params["class_weight"]),
        classes=shared.classes,
        loss=squared_hinge,
        curvature=2.0,
    )
    W, b = solver.solve(penalty=1 / params["C"])
    return test @ (root @ W) + b


SVM = Head(
    space=space,
    fit=fit,
    start={"kernel": "rbf", "C": 3.0, "gamma": 1.0, "class_weight": "balanced"},
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    kernel=True,
)
