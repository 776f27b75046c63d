"""Preprocessing of streamed states as fitted to all clips: what a bundle stores, and the head's input."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerprobe.classify.features.fitted import FittedLayer, FittedScaling
from layerprobe.classify.features.fold_features import LayerStates, Preprocessing
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.streamed.fold import StreamedFold
from layerprobe.classify.features.streamed.moments import Affine


def fit_streamed(
    layer: str, states: LayerStates, prep: Preprocessing, y: np.ndarray, *, classes: int, kernel: bool
) -> tuple[FittedLayer, Any]:
    """As `FittedLayer.fit` for all N clips, and their input: `StreamedRows`, or an array of components.

    y: (N,) classes. kernel: whether the input is divided by the root of its power. Raises SameFeaturesError.
    """
    rows = np.arange(len(y))
    fold = StreamedFold((states,), y, train=rows, test=rows[:0], classes=classes, cache=LruCache(0))
    streamed, _ = fold.inputs(Preprocessing(prep.stats, "standard" if _rotated(prep) else prep.scaling))
    transform, axes, centre = streamed.transform, None, _scaling(streamed.transform.centre)
    Z: Any = streamed
    if prep.pca:
        axes = fold.axes(prep)
        Z = (streamed @ axes).astype(np.float32)
        if prep.scaling == "l2":
            centre, Z = FittedScaling.fit_unit(Z)
    weight = 1.0
    if kernel and prep.pca:
        weight = float(np.sqrt(len(Z) / np.square(Z).sum(dtype=np.float64)))
        Z = Z * np.float32(weight)
    elif kernel:
        weight = float(np.sqrt(1 / streamed.power))
        Z = streamed.times(weight)
    columns = _scaling(transform.columns)
    assert columns is not None  # for the type checker: every input is centred
    return FittedLayer.of(layer, prep, columns=columns, axes=axes, centre=centre, weight=weight), Z


def _rotated(prep: Preprocessing) -> bool:
    """Whether unit length comes after principal axes, so that these are those of standardised columns."""
    return bool(prep.pca) and prep.scaling == "l2"


def _scaling(affine: Affine | None) -> FittedScaling | None:
    if affine is None:
        return None
    return FittedScaling(mean=affine.mean.astype(np.float64), factor=affine.factor)
