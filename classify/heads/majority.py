"""Baseline without features: predicts the most frequent training class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params, no_space
from layerprobe.classify.heads.fitted import Constant, FittedHead, TrainingRows


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    """Score every clip by the log frequencies of the training classes."""
    return [np.tile(_log_frequency(features.y, features.classes), (len(features.test), 1))]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    return Constant(_log_frequency(rows.y, rows.classes))


def _log_frequency(y: np.ndarray, classes: int) -> np.ndarray:
    return np.log(np.bincount(y, minlength=classes) / len(y))


MAJORITY = Head(
    space=no_space,
    fit=fit,
    start={},
    scalings=frozenset(),
    reads="nothing",
    refit=refit,
    samplings=NO_SAMPLING,
)
