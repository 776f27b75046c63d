"""A bidirectional LSTM over the frames of one layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params
from layerprobe.classify.heads.neural.frames import fit_frames

HIDDEN = [32, 64, 128]  # units in each direction


def space(trial: optuna.Trial) -> Params:
    return {
        "hidden": trial.suggest_categorical("hidden", HIDDEN),
        "rate": trial.suggest_float("rate", 3e-4, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "pooling": trial.suggest_categorical("pooling", ["mean", "last"]),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    from layerprobe.classify.heads.solvers.bilstm_torch import BiLstm

    own = {name: params[name] for name in ("hidden", "dropout", "pooling")}
    return fit_frames(features, prep, params, lambda width, classes: BiLstm(width, classes, **own), seed=seed)


def parameters(columns: int, classes: int, params: Params) -> int:
    """Both directions' four gates, each with torch's two biases, and the linear layer."""
    hidden = int(params["hidden"])
    return 2 * 4 * hidden * (columns + hidden + 2) + (2 * hidden + 1) * classes


BILSTM = Head(
    space=space,
    fit=fit,
    start={"hidden": 64, "rate": 2e-3, "dropout": 0.3, "pooling": "mean", "class_weight": "balanced"},
    scalings=ALL_SCALINGS,
    parameters=parameters,
    reads="frames",
    samplings=NO_SAMPLING,
)
