"""A bidirectional LSTM over the frames of one layer; what trains it is imported when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.classify.data.splits import stratified_folds
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params

HIDDEN = [32, 64, 128]  # units in each direction
HELD_OUT = 5  # one part of so many of the training part decides when to stop


def space(trial: optuna.Trial) -> Params:
    return {
        "hidden": trial.suggest_categorical("hidden", HIDDEN),
        "rate": trial.suggest_float("rate", 3e-4, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "pooling": trial.suggest_categorical("pooling", ["mean", "last"]),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    shared: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    from layerprobe.classify.heads.bilstm_torch import best_device, predict, train

    device = best_device()
    states = shared.layers[prep.layer]
    scaled: ScaledFrames = shared.cached(
        ("frames", prep),
        lambda: ScaledFrames(
            states.frames(), train=shared.train, scaling=prep.scaling, speakers=states.speakers
        ),
    )
    speakers = None if states.speakers is None else states.speakers[shared.train]
    held = held_out(shared.y, speakers, seed=seed)
    fitted = train(
        scaled,
        shared.train,
        shared.y,
        held,
        weights=shared.weights(params["class_weight"]),
        classes=shared.classes,
        params=params,
        device=device,
        seed=seed,
    )
    return [predict(fitted, scaled, shared.test, device=device)]


def parameters(columns: int, classes: int, params: Params) -> int:
    """Of both directions' four gates, each with torch's two biases, and of the linear layer."""
    hidden = int(params["hidden"])
    return 2 * 4 * hidden * (columns + hidden + 2) + (2 * hidden + 1) * classes


def held_out(y: np.ndarray, speakers: np.ndarray | None, *, seed: int) -> np.ndarray:
    """(n,) booleans: which training clips decide when to stop and are not fitted on.

    Of speakers of their own, unless every such part takes a class away from training; then a share of each
    class's clips. y, speakers: (n,) of the training clips.
    """
    parts = []
    if speakers is not None:
        names, code = np.unique(speakers, return_inverse=True)
        if len(names) > 1:
            folds = min(HELD_OUT, len(names))
            part_of = balanced_group_folds(y, code, folds=folds, seed=seed)[code]
            parts = [part_of == part for part in range(folds)]
    parts.append(stratified_folds(y, HELD_OUT, seed=seed) == 0)
    known = len(np.unique(y))
    whole = [part for part in parts if len(np.unique(y[~part])) == known]
    chosen = max(whole or parts[-1:], key=lambda part: len(np.unique(y[part])))
    return np.asarray(chosen)


BILSTM = Head(
    space=space,
    fit=fit,
    start={"hidden": 64, "rate": 2e-3, "dropout": 0.3, "pooling": "mean", "class_weight": "balanced"},
    scalings=ALL_SCALINGS,
    parameters=parameters,
    reads="frames",
)
