"""Layers side by side, such as `3+6`: their names, widths and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.layer_names import layer_parts


def joined_width(extraction: Extraction, layer: str) -> int:
    """Columns of one statistic of a layer, or of layers side by side."""
    return sum(extraction.width(part) for part in layer_parts(layer))


def read_layer(store: FeatureStore, layer: str, keys: Sequence[str], *, stats: Sequence[str]) -> np.ndarray:
    """(N, S*width) float32, as `FeatureStore.layer`; of layers side by side, as `join_columns`."""
    return join_columns(
        [store.layer(part, keys, stats=stats) for part in layer_parts(layer)], stats=len(stats)
    )


def join_columns(layers: Sequence[np.ndarray], *, stats: int) -> np.ndarray:
    """Layers (N, S*width) → (N, S * sum of widths): for each statistic the columns of all layers."""
    if len(layers) == 1:
        return layers[0]
    each = [X.reshape(len(X), stats, -1) for X in layers]
    return np.concatenate(each, axis=2).reshape(len(layers[0]), -1)
