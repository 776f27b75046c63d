"""Support vector machine on kernels that all trials of a fold share.

`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`. So is `C` of the linear
kernel, whose inner products are divided by the power.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import optuna
import scipy.linalg
import sklearn
from sklearn.svm import SVC

from classify.head import Head, Params
from classify.kernels import distances, gram
from classify.scaling import ALL_SCALINGS
from classify.sharing import Prep, Shared
from classify.solver import Solver, squared_hinge

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


def fit(shared: Shared, prep: Prep, params: Params, values: Sequence[float], seed: int) -> list[np.ndarray]:
    if shared.anchors is not None:
        return [_approximate(shared, *kernel(shared, prep, params), params)]
    own, other = kernel(shared, prep, params)
    svc = SVC(kernel="precomputed", C=params["C"])
    # Kernels of states that were checked when stored, and parameters of our own: scikit-learn need not look.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        svc.fit(own, shared.y, sample_weight=shared.weights(params["class_weight"]))
    return [decision(svc, other)]


def decision(svc: SVC, kernel: np.ndarray) -> np.ndarray:
    """(m, K) scores of (m, n) kernel rows: each class's votes against the others, ties by confidence.

    What scikit-learn's `decision_function` gives, from one matrix product instead of a sum for each pair.
    """
    classes = len(svc.classes_)
    weights, intercepts = svc.dual_coef_, svc.intercept_
    if classes == 2:
        values = kernel[:, svc.support_] @ weights[0] + intercepts[0]
        return np.column_stack([-values, values])
    ends = np.cumsum(svc.n_support_)
    of = [slice(end - count, end) for count, end in zip(svc.n_support_, ends, strict=True)]
    pairs = list(combinations(range(classes), 2))
    coefficients = np.zeros((kernel.shape[1], len(pairs)))
    for column, (i, j) in zip(coefficients.T, pairs, strict=True):
        column[svc.support_[of[i]]] = weights[j - 1, of[i]]
        column[svc.support_[of[j]]] = weights[i, of[j]]
    values = kernel @ coefficients + intercepts
    votes, confidences = np.zeros((2, len(kernel), classes))
    for (i, j), value in zip(pairs, values.T, strict=True):
        votes[:, i] += value >= 0
        votes[:, j] += value < 0
        confidences[:, i] += value
        confidences[:, j] -= value
    return votes + confidences / (3 * (np.abs(confidences) + 1))


def kernel(shared: Shared, prep: Prep, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(n, a) and (m, a): linear, or exp(−gamma · squared distance / power).

    In double precision, as libsvm wants it, and in the same two arrays for every trial: the next call
    overwrites them.
    """
    linear = params["kernel"] == "linear"
    parts = (gram if linear else distances)(shared, prep)
    out = shared.keep(("kernels",), lambda: tuple(np.empty(part.shape) for part in parts))
    for part, target in zip(parts, out, strict=True):
        if linear:
            target[...] = part
            continue
        for begin in range(0, len(part), ROWS):
            rows = part[begin : begin + ROWS] * np.float32(-params["gamma"])
            target[begin : begin + ROWS] = np.exp(rows, out=rows)
    return out[0], out[1]


def _approximate(shared: Shared, train: np.ndarray, test: np.ndarray, params: Params) -> np.ndarray:
    """(m, K) scores of a linear SVM on Nyström features (Williams & Seeger 2001), one class against the rest.

    With K the anchors' own kernel, rows of k(x, anchors) K^(−1/2) have inner products close to k(x, x').
    """
    values, vectors = scipy.linalg.eigh(train[shared.anchors], check_finite=False, overwrite_a=True)
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
