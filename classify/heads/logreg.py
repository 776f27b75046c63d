"""Multinomial logistic regression with an L2 penalty, solved along the principal axes for a path of C.

`C` is relative to the inputs' power: scikit-learn's C is `C / power`. For two classes scikit-learn fits a
single weight vector, the difference of the two here, whose penalty is twice theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.features.streamed.rows import StreamedRows
from layerprobe.classify.heads.base import Head, Params, class_weight_space
from layerprobe.classify.heads.fitted import FittedHead, Linear, TrainingRows
from layerprobe.classify.heads.solvers.newton import Solver, cross_entropy


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> Iterator[np.ndarray]:
    # A rotation pays for several fits on the same rows: along a path, or with shuffled labels.
    several = len(values) > 1 or bool(features.labels_digest)
    rotated = bool(prep.pca) or (several and not features.streamed)
    train, test = features.basis(prep) if rotated else features.narrow_inputs(prep)
    weight, power = features.weights(params["class_weight"]), features.power(prep)
    solver, penalty = _solver(train, features.y, weight, power, classes=features.classes, rotated=rotated)
    for C in values:  # from the strongest penalty; each solution is the start of the next
        W, b = solver.solve(penalty=penalty / C)
        yield test @ W + b


def _solver(
    Z: np.ndarray, y: np.ndarray, weight: np.ndarray, power: float, *, classes: int, rotated: bool
) -> tuple[Solver, float]:
    """The solver for rows Z (n, r), and the penalty at C = 1. rotated: whether columns are orthogonal."""
    solver = Solver(Z, y, weight, classes=classes, loss=cross_entropy, curvature=1 / classes, rotated=rotated)
    return solver, power * (2 if classes == 2 else 1)


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single C, `value`, to score clips that are not known yet."""
    weight, rotated = rows.weights(params["class_weight"]), not isinstance(rows.Z, StreamedRows)
    Z, rotation = rows.basis() if rotated else (rows.Z, None)
    solver, penalty = _solver(Z, rows.y, weight, rows.power, classes=rows.classes, rotated=rotated)
    W, b = solver.solve(penalty=penalty / value)
    return Linear(W=W if rotation is None else rotation @ W, b=b, classes=rows.classes)


def parameters(columns: int, classes: int, _: Params) -> int:
    return (columns + 1) * classes


_ANYWHERE = Head(
    space=class_weight_space,
    fit=fit,
    start={"class_weight": "balanced"},
    path=("C", (0.03, 0.15, 0.7, 3.0, 15.0, 70.0, 300.0)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit,
)
LOGREG = replace(_ANYWHERE, streamed=_ANYWHERE)
