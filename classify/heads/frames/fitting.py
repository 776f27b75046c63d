"""Fits of networks on frames: scaled frames of a fold or of all clips, and clips that decide when to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.classify.data.group_folds import balanced_group_folds, stratified_folds
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.heads.base import Params
from layerprobe.classify.heads.fitted import TrainingRows

if TYPE_CHECKING:
    from layerprobe.classify.heads.solvers.frame_training import Build

HELD_OUT = 5  # one fold of so many of the training clips decides when to stop


def fit_fold(
    features: FoldFeatures, prep: Preprocessing, params: Params, *, build: Build[Any], seed: int
) -> np.ndarray:
    """(m, K) scores of the fold's test clips by a network that is fitted to its training clips."""
    from layerprobe.classify.heads.solvers.frame_training import best_device, predict, train

    device = best_device()
    states = features.layers[prep.layer]
    scaled: ScaledFrames = features.cached(
        ("frames", prep),
        lambda: ScaledFrames.fit(
            states.frames(), train=features.train, scaling=prep.scaling, speakers=states.speakers
        ),
    )
    speakers = None if states.speakers is None else states.speakers[features.train]
    network = train(
        build,
        scaled,
        features.train,
        features.y,
        validation_mask(features.y, speakers, seed=seed),
        weights=features.weights(params["class_weight"]),
        classes=features.classes,
        params=params,
        device=device,
        seed=seed,
    )
    return predict(network, scaled, features.test, device=device)


def fit_all(rows: TrainingRows, params: Params, *, build: Build[Any], seed: int) -> dict[str, np.ndarray]:
    """The parameters, by name, of a network that is fitted to all clips."""
    from layerprobe.classify.heads.solvers.frame_training import best_device, train

    assert rows.frames is not None  # for the type checker: the search refuses stores without frames
    network = train(
        build,
        rows.frames,
        np.arange(len(rows.y)),
        rows.y,
        validation_mask(rows.y, rows.speakers, seed=seed),
        weights=rows.weights(params["class_weight"]),
        classes=rows.classes,
        params=params,
        device=best_device(),
        seed=seed,
    )
    return {name: tensor.cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}


def validation_mask(y: np.ndarray, speakers: np.ndarray | None, *, seed: int) -> np.ndarray:
    """(n,) booleans: training clips that are held out from the fit and decide when to stop.

    Speaker-disjoint, unless that would remove a class from the fit in every fold; then a share of each
    class's clips. y, speakers: (n,) of the training clips; of shares y (n, K), the largest is the class.
    """
    y = y if y.ndim == 1 else y.argmax(1)
    masks = []
    if speakers is not None:
        names, code = np.unique(speakers, return_inverse=True)
        if len(names) > 1:
            folds = min(HELD_OUT, len(names))
            fold_of = balanced_group_folds(y, code, folds=folds, seed=seed)[code]
            masks = [fold_of == fold for fold in range(folds)]
    masks.append(stratified_folds(y, HELD_OUT, seed=seed) == 0)
    classes = len(np.unique(y))
    complete = [mask for mask in masks if len(np.unique(y[~mask])) == classes]
    best = max(complete or masks[-1:], key=lambda mask: len(np.unique(y[mask])))
    return np.asarray(best)
