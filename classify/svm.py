"""Support vector machine on kernels that all trials of a fold share.

`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`. So is `C` of the linear
kernel, whose inner products are divided by the power.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
import scipy.linalg
import sklearn
from sklearn.svm import SVC

from classify.head import Head, Params
from classify.scaling import ALL_SCALINGS
from classify.sharing import Prep, Shared
from classify.solver import Solver, squared_hinge

LEAST = 1e-6  # of the largest eigenvalue of the anchors' kernel; below, directions are rounding


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
        decision = svc.decision_function(other)
    return [np.column_stack([-decision, decision]) if shared.classes == 2 else decision]


def kernel(shared: Shared, prep: Prep, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(n, a) and (m, a): linear, or exp(−gamma · squared distance / power).

    In double precision, as libsvm wants it, and in the same two arrays for every trial: the next call
    overwrites them.
    """
    linear = params["kernel"] == "linear"
    parts = shared.gram(prep) if linear else shared.distances(prep)
    out = shared.keep(("kernels",), lambda: tuple(np.empty(part.shape) for part in parts))
    for part, target in zip(parts, out, strict=True):
        if linear:
            target[...] = part
        else:
            np.exp(part * np.float32(-params["gamma"]), out=target, dtype=np.float32, casting="same_kind")
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
