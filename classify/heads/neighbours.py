"""The head `knn`: the nearest neighbours by cosine similarity, found once for every number of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS, unit_rows
from layerprobe.classify.heads.base import Head, Params, class_weight_space
from layerprobe.classify.heads.fitted import FittedHead, Neighbours, TrainingRows
from layerprobe.classify.heads.solvers.votes import nearest, neighbour_votes

MOST = 50  # neighbours


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    def make() -> np.ndarray:
        train, test = features.inputs(prep)
        return nearest(unit_rows(test), unit_rows(train), count=MOST)

    most = features.cached(("neighbours", prep), make)
    weight = features.weights(params["class_weight"])
    return [neighbour_votes(most[:, : int(k)], features.y, weight, classes=features.classes) for k in values]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single number of neighbours, `value`: a head that holds all training rows."""
    return Neighbours(
        anchors=unit_rows(rows.Z),
        y=rows.y,
        weight=rows.weights(params["class_weight"]),
        count=int(value),
        classes=rows.classes,
    )


KNN = Head(
    space=class_weight_space,
    fit=fit,
    start={"class_weight": "balanced"},
    path=("neighbours", (1, 3, 5, 10, 20, MOST)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    refit=refit,
)
