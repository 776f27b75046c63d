"""Support vector machine, one against one, on products and distances that all trials of a fold share.

`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`. So is `C` of the linear
kernel, whose inner products are divided by the power. The RBF kernel's `C` is scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
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
from layerprobe.classify.heads.fitted import (
    FittedHead,
    Kernel,
    Linear,
    TrainingRows,
    VectorMachine,
    kernel_rows,
)
from layerprobe.classify.heads.solvers.interior_point import NotSolvedError, separate
from layerprobe.classify.heads.solvers.newton import Solver, squared_hinge
from layerprobe.classify.heads.solvers.votes import decision, vote

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


def linear_space(trial: optuna.Trial) -> Params:
    return {
        "kernel": trial.suggest_categorical("kernel", ["linear"]),
        "C": trial.suggest_float("C", 1e-1, 1e2, log=True),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    if params["kernel"] == "linear" and not prep.mix:
        inputs = features.inputs(prep)
        if few_columns(inputs[0]):
            with suppress(NotSolvedError):
                return [_linear(features, *inputs, features.power(prep), params)]
        if features.streamed:
            weight, power = features.weights(params["class_weight"]), features.power(prep)
            W, b = _primal(inputs[0], features.y, weight, params["C"] / power, classes=features.classes)
            return [inputs[1] @ W + b]
    if features.landmarks is not None:
        return [_approximate(features, *compute_kernel(features, prep, params), params)]
    train, test = compute_kernel(features, prep, params)
    svc = SVC(kernel="precomputed", C=params["C"])
    # States are checked when stored, and parameters are ours: scikit-learn need not check either.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        svc.fit(train, features.y, sample_weight=features.weights(params["class_weight"]))
    return [decision(svc, test)]


def few_columns(Z: np.ndarray) -> bool:
    """Whether a linear SVM on rows Z (n, d) is solved in the columns: few enough, and in memory."""
    rows, columns = Z.shape
    return isinstance(Z, np.ndarray) and columns <= min(MOST_COLUMNS, rows / ROWS_PER_COLUMN)


def _linear(
    features: FoldFeatures, train: np.ndarray, test: np.ndarray, power: float, params: Params
) -> np.ndarray:
    """(m, K) scores of the linear SVM that libsvm would find on a linear kernel, solved in the columns."""
    C = params["C"] * features.weights(params["class_weight"])
    W = _planes(train / np.sqrt(power), features.y, C, classes=features.classes)
    return vote(test / np.sqrt(power) @ W[:-1] + W[-1], classes=features.classes)


def _planes(Z: np.ndarray, y: np.ndarray, C: np.ndarray, *, classes: int) -> np.ndarray:
    """(d + 1, pairs of classes): a plane between each two classes, its intercept in the last row."""
    planes = []
    for i, j in combinations(range(classes), 2):
        rows = (y == i) | (y == j)
        planes.append(separate(Z[rows], y[rows] == i, C[rows]))
    return np.stack(planes, axis=1)


def _primal(
    Z: np.ndarray, y: np.ndarray, weight: np.ndarray, C: float, *, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, K) and intercepts (K,) of a linear SVM, one against the rest with squared hinge losses.

    For rows Z (n, d) that are read in blocks; what `_nystroem` would find with every row as a landmark.
    """
    solver = Solver(Z, y, weight, classes=classes, loss=squared_hinge, curvature=2.0, rotated=False)
    return solver.solve(penalty=1 / C)


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
    """(m, K) scores of a linear SVM, one against the rest, on Nyström features (Williams & Seeger 2001)."""
    assert features.landmarks is not None  # for the type checker
    weight = features.weights(params["class_weight"])
    W, b = _nystroem(train, features.landmarks, features.y, weight, params["C"], classes=features.classes)
    return test @ W + b


def _nystroem(
    kernel: np.ndarray, landmarks: np.ndarray, y: np.ndarray, weight: np.ndarray, C: float, *, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (a, K) of a kernel's columns and intercepts (K,). kernel: (n, a), training rows × landmarks."""
    root = nystroem_root(kernel, landmarks)
    solver = Solver(
        kernel.astype(np.float32) @ root, y, weight, classes=classes, loss=squared_hinge, curvature=2.0
    )
    W, b = solver.solve(penalty=1 / C)
    return root @ W, b


def nystroem_root(kernel: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(a, r) float32, K^(−1/2) of the landmarks' own kernel K, of `kernel` (n, a), training rows × landmarks.

    Rows k(x, landmarks) K^(−1/2) have inner products close to k(x, x').
    """
    values, vectors = scipy.linalg.eigh(kernel[landmarks], check_finite=False, overwrite_a=True)
    significant = values > LEAST * values[-1]
    return np.asarray((vectors[:, significant] / np.sqrt(values[significant])).astype(np.float32))


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit`, on inputs whose power is 1 (see `Head.refit`), to score clips that are not known yet."""
    Z, y, weight = rows.Z, rows.y, rows.weights(params["class_weight"])
    gamma = None if params["kernel"] == "linear" else float(params["gamma"])
    if gamma is None and few_columns(Z):
        with suppress(NotSolvedError):
            W = _planes(Z, y, params["C"] * weight, classes=rows.classes)
            return Linear(W=W[:-1], b=W[-1], classes=rows.classes, pairs=True)
    if rows.streamed:
        W, b = _primal(Z, y, weight, params["C"], classes=rows.classes)
        return Linear(W=W, b=b, classes=rows.classes)
    if rows.landmarks is not None:
        anchors = Z[rows.landmarks]
        kernel = kernel_rows(Z, anchors, gamma).astype(np.float64)
        W, b = _nystroem(kernel, rows.landmarks, y, weight, params["C"], classes=rows.classes)
        return Kernel(anchors=anchors, W=W, b=b, gamma=gamma)
    svc = SVC(kernel="precomputed", C=params["C"])
    svc.fit(kernel_rows(Z, Z, gamma).astype(np.float64), y, sample_weight=weight)
    return VectorMachine(_with_vectors(svc, Z, gamma))


def _with_vectors(svc: SVC, Z: np.ndarray, gamma: float | None) -> SVC:
    """The SVC that was fitted to a kernel of rows Z, as if it had computed the kernel itself."""
    svc.kernel, svc.gamma = ("linear", "scale") if gamma is None else ("rbf", gamma)
    svc.break_ties = True
    svc._gamma = 0.0 if gamma is None else gamma
    svc.support_vectors_ = Z[svc.support_].astype(np.float64)
    svc.support_ = np.arange(len(svc.support_), dtype=np.int32)
    svc.shape_fit_, svc.n_features_in_ = svc.support_vectors_.shape, Z.shape[1]
    return svc


_LINEAR = Head(
    space=linear_space,
    fit=fit,
    start={"kernel": "linear", "C": 3.0, "class_weight": "balanced"},
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    kernel=True,
    refit=refit,
)
SVM = replace(
    _LINEAR,
    space=space,
    start={"kernel": "rbf", "C": 3.0, "gamma": 1.0, "class_weight": "balanced"},
    streamed=_LINEAR,
)
