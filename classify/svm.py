"""Support vector machine on kernels that all trials of a fold share.

`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`. So is `C` of the linear
kernel, whose inner products are divided by the power.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from sklearn.svm import SVC

from classify.head import Head, Params
from classify.scaling import ALL_SCALINGS
from classify.sharing import Prep, Shared

SOLVER_MB = 500  # of libsvm's own cache of kernel rows


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
    train, test = kernel(shared, prep, params)
    weighting = params["class_weight"]
    svc = SVC(
        kernel="precomputed",
        C=params["C"],
        class_weight=None if weighting == "none" else weighting,
        cache_size=SOLVER_MB,
    ).fit(train, shared.y)
    decision = svc.decision_function(test)
    return [np.column_stack([-decision, decision]) if shared.classes == 2 else decision]


def kernel(shared: Shared, prep: Prep, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(n, n) and (m, n) float64, as libsvm wants it: linear, or exp(−gamma · squared distance / power)."""
    if params["kernel"] == "linear":
        train, test = shared.gram(prep)
    else:
        gamma = np.float32(-params["gamma"])
        train, test = (np.exp(gamma * distance) for distance in shared.distances(prep))
    return train.astype(np.float64), test.astype(np.float64)


SVM = Head(
    space=space,
    fit=fit,
    start={"kernel": "rbf", "C": 3.0, "gamma": 1.0, "class_weight": "balanced"},
    pca=(0, 64),
    scalings=ALL_SCALINGS,
)
