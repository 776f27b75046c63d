"""The fit of a head that reads every frame. torch, which trains it, is imported on the first fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.heads.base import Params
from layerprobe.classify.heads.neural.validation import validation_mask

if TYPE_CHECKING:
    from torch.nn import Module


def fit_frames(
    features: FoldFeatures,
    prep: Preprocessing,
    params: Params,
    network: Callable[[int, int], Module],
    *,
    seed: int,
) -> list[np.ndarray]:
    """The (m, K) scores of the test clips, as the one value of the head's path.

    network: (columns of a frame, classes) → the untrained network: (B, T, D) zero-padded frames and (B,)
    lengths → (B, K). params: `rate` and `class_weight` are used.
    """
    from layerprobe.classify.heads.solvers.frames_torch import best_device, predict, train

    device = best_device()
    states = features.layers[prep.layer]
    scaled: ScaledFrames = features.cached(
        ("frames", prep),
        lambda: ScaledFrames(
            states.frames(), train=features.train, scaling=prep.scaling, speakers=states.speakers
        ),
    )
    speakers = None if states.speakers is None else states.speakers[features.train]
    fitted = train(
        lambda: network(scaled.width, features.classes),
        scaled,
        features.train,
        features.y,
        validation_mask(features.y, speakers, seed=seed),
        weights=features.weights(params["class_weight"]),
        classes=features.classes,
        rate=params["rate"],
        device=device,
        seed=seed,
    )
    return [predict(fitted, scaled, features.test, device=device)]
