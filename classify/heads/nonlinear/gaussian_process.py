"""The head `gp`: Gaussian process classification with an RBF kernel, one class against the rest.

By Laplace's approximation, see `laplace`. The search chooses the kernel's parameters, not the marginal
likelihood. `gamma` is relative to the inputs' power, as that of `svm`; `variance` is the prior variance of
the latent function. The cost grows with the cube of the number of training clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import UNWEIGHTED, Head, Params
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows
from layerprobe.classify.heads.nonlinear.laplace import Laplace, fit_laplace

MOST_CLIPS = 2000  # training clips


def space(trial: optuna.Trial) -> Params:
    return {
        "gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True),
        "variance": trial.suggest_float("variance", 1e-1, 1e3, log=True),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.inputs(prep)
    return [_fit(train, features.y, features.classes, features.power(prep), params).scores(test)]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit`, to score clips that are not known yet."""
    return _fit(rows.Z, rows.y, rows.classes, rows.power, params)


def _fit(Z: np.ndarray, y: np.ndarray, classes: int, power: float, params: Params) -> Laplace:
    length = float(np.sqrt(power / (2 * params["gamma"])))
    return fit_laplace(Z, y, classes=classes, length=length, variance=params["variance"])


GP = Head(
    space=space,
    fit=fit,
    start={"gamma": 0.5, "variance": 10.0},
    pca=(0, 32, 64),
    widest=128,
    scalings=ALL_SCALINGS,
    refit=refit,
    most_clips=MOST_CLIPS,
    samplings=UNWEIGHTED,
)
