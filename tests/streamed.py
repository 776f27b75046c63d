"""Folds whose states are in a temporary file, beside the same folds in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.features.streamed.fold import StreamedFold
from layerprobe.classify.features.streamed.stored import StoredStates
from tests.studies import made_features


def stored(X: np.ndarray) -> StoredStates:
    """The rows of X (N, D) in a file."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the states close it)
    file.write(np.ascontiguousarray(X, np.float32).tobytes())
    file.flush()
    return StoredStates(file, rows=len(X), columns=X.shape[1])


def both_folds(
    *, rows: int = 240, width: int = 12, classes: int = 3, seed: int = 0, shuffled: bool = True
) -> tuple[FoldFeatures, StreamedFold]:
    """The same fold in memory and in a file; training rows are scattered over the table if `shuffled`."""
    made, X, y = made_features(rows=rows, width=width, classes=classes, seed=seed)
    train, test = made.train, made.test
    if shuffled:
        order = np.random.default_rng(seed).permutation(rows)
        train, test = np.sort(order[: len(train)]), np.sort(order[len(train) :])
    (layer,) = made.layers
    file = stored(X)
    layers = (replace(layer, stored=lambda: file),)
    settings = {"train": train, "test": test, "classes": classes}
    return (
        FoldFeatures(layers, y, cache=LruCache(1 << 30), **settings),  # type: ignore[arg-type]
        StreamedFold(layers, y, cache=LruCache(1 << 30), **settings),  # type: ignore[arg-type]
    )
