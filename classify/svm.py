"""Support vector machine on kernels that all trials of a fold share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import optuna
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.svm import SVC

from classify.fitted import Fitted, Notes, Params
from classify.scaling import Scaling
from classify.sharing import Prep, Shared

SOLVER_MB = 500  # libsvm's own row cache; BAVED's whole kernel fits many times


class Svm:
    """`gamma` is relative to the inputs' power: scikit-learn's gamma is `gamma / power`.

    So is `C` of the linear kernel, whose inner products are divided by the power.
    """

    pca = (0, 64)
    scalings: frozenset[Scaling] = frozenset({"none", "standard", "speaker", "l2"})
    start: ClassVar[Params] = {"kernel": "rbf", "C": 3.0, "gamma": 1.0, "class_weight": "balanced"}

    def space(self, trial: optuna.Trial) -> Params:
        params: Params = {
            "kernel": trial.suggest_categorical("kernel", ["rbf", "linear"]),
            "C": trial.suggest_float("C", 1e-1, 1e2, log=True),
            "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
        }
        if params["kernel"] == "rbf":
            params["gamma"] = trial.suggest_float("gamma", 1e-1, 1e1, log=True)
        return params

    def fit(self, shared: Shared, prep: Prep, params: Params, *, seed: int, notes: Notes | None) -> Fitted:
        train, test = kernel(shared, prep, params)
        svc = SVC(
            kernel="precomputed",
            C=params["C"],
            class_weight=None if params["class_weight"] == "none" else "balanced",
            cache_size=SOLVER_MB,
        ).fit(train, shared.y)
        decision = svc.decision_function(test)
        scores = np.column_stack([-decision, decision]) if shared.classes == 2 else decision
        return Fitted(scores, {})

    def summarise(self, fits: Sequence[Fitted], y: Sequence[np.ndarray]) -> Notes:
        return {"temperature": temperature(np.concatenate([f.scores for f in fits]), np.concatenate(y))}

    def probability(self, scores: np.ndarray, notes: Notes) -> np.ndarray:
        return softmax(scores / notes["temperature"], axis=1)


def kernel(shared: Shared, prep: Prep, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(n, n) and (m, n) float64, as libsvm wants it: linear, or exp(−gamma · squared distance / power)."""
    if params["kernel"] == "linear":
        train, test = shared.gram(prep)
    else:
        gamma = np.float32(-params["gamma"])
        train, test = (np.exp(gamma * distance) for distance in shared.distances(prep))
    return train.astype(np.float64), test.astype(np.float64)


def temperature(scores: np.ndarray, y: np.ndarray) -> float:
    """The divisor of (N, K) scores under which their softmax has the least log loss (Guo et al. 2017).

    An SVM's scores are no log probabilities; one divisor, found on clips that the fits did not see, makes
    them usable as such and moves no prediction.
    """
    rows = np.arange(len(y))

    def loss(log_t: float) -> float:
        logits = scores / np.exp(log_t)
        return float((logsumexp(logits, axis=1) - logits[rows, y]).mean())

    found: Any = minimize_scalar(loss, bounds=(-5, 5), method="bounded")
    return float(np.exp(found.x))
