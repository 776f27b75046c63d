"""Attention pooling over the frames of one layer, under a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params
from layerprobe.classify.heads.neural.frames import fit_frames

HIDDEN = [32, 64, 128]  # units of each frame's projection
QUERIES = [1, 2, 4]  # weighted means over frames


def space(trial: optuna.Trial) -> Params:
    return {
        "hidden": trial.suggest_categorical("hidden", HIDDEN),
        "queries": trial.suggest_categorical("queries", QUERIES),
        "rate": trial.suggest_float("rate", 3e-4, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    from layerprobe.classify.heads.solvers.attention_torch import AttentionPooling

    own = {name: params[name] for name in ("hidden", "queries", "dropout")}
    return fit_frames(
        features, prep, params, lambda width, classes: AttentionPooling(width, classes, **own), seed=seed
    )


def parameters(columns: int, classes: int, params: Params) -> int:
    """The projection, the queries and the linear layer."""
    hidden, queries = int(params["hidden"]), int(params["queries"])
    return hidden * (columns + 1) + queries * hidden + (queries * hidden + 1) * classes


ATTENTION = Head(
    space=space,
    fit=fit,
    start={"hidden": 64, "queries": 1, "rate": 2e-3, "dropout": 0.3, "class_weight": "balanced"},
    scalings=ALL_SCALINGS,
    parameters=parameters,
    reads="frames",
    samplings=NO_SAMPLING,
)
