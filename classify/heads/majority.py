"""The control that looks at no feature: the most frequent training class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import Head, Params


def space(trial: optuna.Trial) -> Params:
    return {}


def fit(
    shared: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    """Score every clip by the training classes' frequencies."""
    share = np.log(np.bincount(shared.y, minlength=shared.classes) / len(shared.y))
    return [np.tile(share, (len(shared.test), 1))]


MAJORITY = Head(space=space, fit=fit, start={}, scalings=frozenset(), reads="nothing")
