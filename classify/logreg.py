"""Multinomial logistic regression with an L2 penalty, solved along the principal axes for a path of C.

`C` is relative to the inputs' power: scikit-learn's C is `C / power`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from scipy.optimize import minimize

from classify.head import Head, Params
from classify.scaling import ALL_SCALINGS
from classify.sharing import Prep, Shared

PASSES = 500
TOLERANCE = 1e-3  # largest gradient in preconditioned coordinates, where curvature is at most about one


def space(trial: optuna.Trial) -> Params:
    return {"class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"])}


def fit(shared: Shared, prep: Prep, params: Params, values: Sequence[float], seed: int) -> list[np.ndarray]:
    train, test = shared.basis(prep)
    power = shared.power(prep)
    solver = Solver(train, shared.y, shared.weights(params["class_weight"]), classes=shared.classes)
    scores = {}
    for C in sorted(values):  # from the strongest penalty, each solution the next one's start
        W, b = solver.solve(penalty=power / C)
        scores[C] = test @ W + b
    return [scores[C] for C in values]


class Solver:
    """Minimises Σ weight · cross-entropy + penalty/2 · |W|² over W (r, K) and intercepts b (K,).

    Z: (n, r) float32 with orthogonal columns: the principal components; the penalty does not see the
    rotation. At W = 0 the Hessian is (I/K − 11ᵀ/K²) ⊗ Zᵀ diag(weight) Z + penalty · I, which is diagonal in
    this basis but for unequal weights. Dividing by its root leaves L-BFGS a nearly round bowl: 10 to 30
    passes over Z where standardised columns take hundreds. A next call goes on from where the last one ended.
    """

    def __init__(self, Z: np.ndarray, y: np.ndarray, weight: np.ndarray, *, classes: int) -> None:
        self._Z, self._y, self._weight = np.ascontiguousarray(Z), y, weight
        self._curvature = np.append(weight @ (Z * Z), weight.sum()) / classes
        self._W = np.zeros((Z.shape[1] + 1, classes))  # the intercepts are the last row

    def solve(self, *, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """W (r, K) and b (K,), float32."""
        curvature = self._curvature + penalty
        curvature[-1] -= penalty
        root = (1 / np.sqrt(curvature))[:, None]
        rows = np.arange(len(self._y))
        Z, weight = self._Z, self._weight

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            W = flat.reshape(self._W.shape) * root
            logits = Z @ W[:-1].astype(np.float32) + W[-1]
            logits -= logits.max(1, keepdims=True)
            P = np.exp(logits)
            total = P.sum(1, keepdims=True)
            loss = np.log(total[:, 0]) - logits[rows, self._y]
            P /= total
            P[rows, self._y] -= 1
            P *= weight[:, None]
            gradient = np.empty_like(W)
            gradient[:-1] = Z.T @ P.astype(np.float32)
            gradient[:-1] += penalty * W[:-1]
            gradient[-1] = P.sum(0)
            return float(weight @ loss + penalty / 2 * (W[:-1] ** 2).sum()), (gradient * root).ravel()

        found: Any = minimize(
            objective,
            (self._W / root).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": PASSES, "maxfun": PASSES, "gtol": TOLERANCE, "ftol": 1e-12, "maxcor": 10},
        )
        self._W = found.x.reshape(self._W.shape) * root
        return self._W[:-1].astype(np.float32), self._W[-1].astype(np.float32)


LOGREG = Head(
    space=space,
    fit=fit,
    start={"class_weight": "balanced"},
    path=("C", (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
)
