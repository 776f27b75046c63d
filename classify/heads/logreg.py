"""Multinomial logistic regression with an L2 penalty, solved along the principal axes for a path of C.

`C` is relative to the inputs' power: scikit-learn's C is `C / power`. For two classes it fits one vector, the
difference of ours, whose penalty is twice that of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.newton import Solver, cross_entropy


def space(trial: optuna.Trial) -> Params:
    return {"class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"])}


def fit(
    shared: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = shared.basis(prep)
    penalty = shared.power(prep) * (2 if shared.classes == 2 else 1)
    solver = Solver(
        train,
        shared.y,
        shared.weights(params["class_weight"]),
        classes=shared.classes,
        loss=cross_entropy,
        curvature=1 / shared.classes,
    )
    scores = {}
    for C in sorted(values):  # from the strongest penalty, each solution the next one's start
        W, b = solver.solve(penalty=penalty / C)
        scores[C] = test @ W + b
    return [scores[C] for C in values]


def parameters(columns: int, classes: int, _: Params) -> int:
    return (columns + 1) * classes


LOGREG = Head(
    space=space,
    fit=fit,
    start={"class_weight": "balanced"},
    path=("C", (0.03, 0.15, 0.7, 3.0, 15.0, 70.0, 300.0)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
)
