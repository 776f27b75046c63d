"""Support vector machine, one against one, on products and distances that all trials of a fold share.

`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`. So is `C` of the linear
kernel, whose inner products are divided by the power. The RBF kernel's `C` is scikit-learn's.
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
from layerprobe.classify.features.kernels import gram_matrix, kernel_buffers, squared_distances
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.interior_point import NotSolvedError, separate
from layerprobe.classify.heads.newton import Solver, squared_hinge

# A linear SVM is solved in the columns up to MOST_COLUMNS of them, from ROWS_PER_COLUMN rows per column on.
MOST_COLUMNS = 256
ROWS_PER_COLUMN = 8
LEAST = 1e-6  # of the largest eigenvalue of the landmarks' kernel: less is rounding error
ROWS = 256  # of a kernel that are computed at a time


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
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    if params["kernel"] == "linear" and not prep.mix:
        inputs = features.inputs(prep)
        rows, columns = inputs[0].shape
        if columns <= min(MOST_COLUMNS, rows / ROWS_PER_COLUMN):
            with suppress(NotSolvedError):
                return [_linear(features, *inputs, features.power(prep), params)]
    if features.landmarks is not None:
        return [_approximate(features, *compute_kernel(features, prep, params), params)]
    train, test = compute_kernel(features, prep, params)
    svc = SVC(kernel="precomputed", C=params["C"])
    # States are checked when stored, and parameters are ours: scikit-learn need not check either.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        svc.fit(train, features.y, sample_weight=features.weights(params["class_weight"]))
    return [decision(svc, test)]


def decision(svc: SVC, kernel: np.ndarray) -> np.ndarray:
    """(m, K) scores of (m, n) kernel rows: scikit-learn's `decision_function` by one matrix product."""
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
    """(m, K) scores: each class's votes against the others, with ties broken by confidence.

    values: (m, K (K - 1) / 2), positive for the first class of a pair. For two classes, the scores are ±
    values.
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
    features: FoldFeatures, train: np.ndarray, test: np.ndarray, power: float, params: Params
) -> np.ndarray:
    """(m, K) scores of the linear SVM that libsvm would find on a linear kernel, solved in the columns."""
    Z, y = train / np.sqrt(power), features.y
    C = params["C"] * features.weights(params["class_weight"])
    planes = []
    for i, j in combinations(range(features.classes), 2):
        rows = (y == i) | (y == j)
        planes.append(separate(Z[rows], y[rows] == i, C[rows]))
    W = np.stack(planes, axis=1)
    return vote(test / np.sqrt(power) @ W[:-1] + W[-1], classes=features.classes)


def compute_kernel(
    features: FoldFeatures, prep: Preprocessing, params: Params
) -> tuple[np.ndarray, np.ndarray]:
    """(n, a) float64 and (m, a) float32: linear, or exp(−gamma · squared distance / power).

    In the fold's `KernelBuffers`: the next call for the same fold overwrites them.
    """
    linear = params["kernel"] == "linear"
    train, test = (gram_matrix if linear else squared_distances)(features, prep)
    buffers = kernel_buffers(features)
    if linear:
        buffers.train[...] = train
        return buffers.train, test
    for source, target in zip((train, test), buffers, strict=True):
        for begin in range(0, len(source), ROWS):
            rows = source[begin : begin + ROWS] * np.float32(-params["gamma"])
            target[begin : begin + ROWS] = np.exp(rows, out=rows)
    return buffers


def _approximate(features: FoldFeatures, train: np.ndarray, test: np.ndarray, params: Params) -> np.ndarray:
    """(m, K) scores of a linear SVM, one against the rest, on Nyström features (Williams & Seeger 2001).

    With K the landmarks' own kernel, rows k(x, landmarks) K^(−1/2) have inner products close to k(x, x').
    """
    values, vectors = scipy.linalg.eigh(train[features.landmarks], check_finite=False, overwrite_a=True)
    significant = values > LEAST * values[-1]
    root = (vectors[:, significant] / np.sqrt(values[significant])).astype(np.float32)
    solver = Solver(
        train.astype(np.float32) @ root,
        features.y,
        features.weights(params["class_weight"]),
        classes=features.classes,
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
