"""Baseline without features: predicts the most frequent training class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import Head, Params


def space(trial: optuna.Trial) -> Params:
    return {}


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    """Score every clip by the log frequencies of the training classes."""
    log_frequency = np.log(np.bincount(features.y, minlength=features.classes) / len(features.y))
    return [np.tile(log_frequency, (len(features.test), 1))]


MAJORITY = Head(space=space, fit=fit, start={}, scalings=frozenset(), reads="nothing")
