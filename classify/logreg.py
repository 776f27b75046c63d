"""Multinomial logistic regression with an L2 penalty, solved along the principal axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import optuna
from scipy.optimize import minimize
from scipy.special import softmax

from classify.fitted import Fitted, Notes, Params, class_weights
from classify.scaling import Scaling
from classify.sharing import Prep, Shared

PASSES = 500
TOLERANCE = 1e-3  # largest gradient in preconditioned coordinates, where curvature is at most about one


class LogReg:
    """`C` is relative to the inputs' power: scikit-learn's C is `C / power`."""

    pca = (0, 64)
    scalings: frozenset[Scaling] = frozenset({"none", "standard", "speaker", "l2"})
    start: ClassVar[Params] = {"C": 10.0, "class_weight": "balanced"}

    def space(self, trial: optuna.Trial) -> Params:
        return {
            "C": trial.suggest_float("C", 1e-2, 1e2, log=True),
            "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
        }

    def fit(self, shared: Shared, prep: Prep, params: Params, *, seed: int, notes: Notes | None) -> Fitted:
        train, test = shared.basis(prep)
        weight = class_weights(shared.y, shared.classes, params["class_weight"])
        penalty = shared.power(prep) / params["C"]
        W, b = solve(train, shared.y, weight, classes=shared.classes, penalty=penalty)
        return Fitted(test @ W + b, {})

    def summarise(self, fits: Sequence[Fitted], y: Sequence[np.ndarray]) -> Notes:
        return {}

    def probability(self, scores: np.ndarray, notes: Notes) -> np.ndarray:
        return softmax(scores.astype(np.float64), axis=1)


def solve(
    Z: np.ndarray, y: np.ndarray, weight: np.ndarray, *, classes: int, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise Σ weight · cross-entropy + penalty/2 · |W|² over W (r, K) and intercepts b (K,); both float32.

    Z: (n, r) float32 with orthogonal columns: the principal components; the penalty does not see the
    rotation. At W = 0 the Hessian is (I/K − 11ᵀ/K²) ⊗ Zᵀ diag(weight) Z + penalty · I, which is diagonal in
    this basis but for unequal weights. Dividing by its root leaves L-BFGS a nearly round bowl: 10 to 30
    passes over Z where standardised columns take hundreds. Every fit starts at zero: one that started
    at another trial's solution would depend on which trials went before.
    """
    n, r = Z.shape
    curvature = np.append(weight @ (Z * Z) / classes + penalty, weight.sum() / classes)
    root = (1 / np.sqrt(curvature))[:, None]
    rows = np.arange(n)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        W = flat.reshape(r + 1, classes) * root
        logits = Z @ W[:r].astype(np.float32) + W[r]
        logits -= logits.max(1, keepdims=True)
        P = np.exp(logits)
        total = P.sum(1, keepdims=True)
        loss = np.log(total[:, 0]) - logits[rows, y]
        P /= total
        P[rows, y] -= 1
        P *= weight[:, None]
        gradient = np.empty_like(W)
        gradient[:r] = Z.T @ P.astype(np.float32)
        gradient[:r] += penalty * W[:r]
        gradient[r] = P.sum(0)
        return float(weight @ loss + penalty / 2 * (W[:r] ** 2).sum()), (gradient * root).ravel()

    found: Any = minimize(
        objective,
        np.zeros((r + 1) * classes),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": PASSES, "maxfun": PASSES, "gtol": TOLERANCE, "ftol": 1e-12, "maxcor": 10},
    )
    W = (found.x.reshape(r + 1, classes) * root).astype(np.float32)
    return W[:r], W[r]
