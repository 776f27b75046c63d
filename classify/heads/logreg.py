"""Multinomial logistic regression with an L2 penalty, solved along the principal axes for a path of C.

`C` is relative to the inputs' power: scikit-learn's C is `C / power`. For two classes scikit-learn fits a
single weight vector, the difference of the two here, whose penalty is twice theirs.
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
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.basis(prep)
    penalty = features.power(prep) * (2 if features.classes == 2 else 1)
    solver = Solver(
        train,
        features.y,
        features.weights(params["class_weight"]),
        classes=features.classes,
        loss=cross_entropy,
        curvature=1 / features.classes,
    )
    scores = {}
    for C in sorted(values):  # from the strongest penalty; each solution is the start of the next
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
