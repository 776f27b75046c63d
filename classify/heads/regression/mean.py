"""Baseline without features: predicts the mean of the training clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import Head, Params, no_space
from layerprobe.classify.heads.fitted import Constant, FittedHead, TrainingRows


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    return [np.full((len(features.test), 1), features.y.mean())]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    return Constant(np.array([rows.y.mean()]))


MEAN = Head(space=no_space, fit=fit, start={}, scalings=frozenset(), reads="nothing", refit=refit)
