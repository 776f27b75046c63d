"""Ridge regression, with one eigendecomposition for a path of penalties.

As scikit-learn's Ridge; `alpha` is relative to the inputs' power.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params, no_space
from layerprobe.classify.heads.closed_form import decompose_ridge, ridge_weights
from layerprobe.classify.heads.fitted import FittedHead, Linear, TrainingRows


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.basis(prep)
    form = features.cached(
        ("ridge regression", prep, features.labels_digest),
        lambda: decompose_ridge(train.astype(np.float64), features.y[:, None], np.ones(len(train))),
    )
    power, exact = features.power(prep), test.astype(np.float64)
    solutions = [ridge_weights(form, alpha * power) for alpha in values]
    return [exact @ W + b for W, b in solutions]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single alpha, `value`, to score clips that are not known yet."""
    Z, rotation = rows.basis()
    form = decompose_ridge(Z.astype(np.float64), rows.y[:, None], np.ones(len(Z)))
    W, b = ridge_weights(form, value * rows.power)
    return Linear(W=rotation @ W, b=b, classes=1)


def parameters(columns: int, classes: int, _: Params) -> int:
    return columns + 1


RIDGE_REGRESSION = Head(
    space=no_space,
    fit=fit,
    start={},
    path=("alpha", (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit,
)
