"""The states of several stores as layers of one, named MODEL:LAYER."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from layerprobe.cache.store.feature_store import FeatureStore

STATES = "states"  # the only statistic: those of a store side by side


class JoinedStore(FeatureStore):
    """Reads layers of several stores; what is not about layers is that of the first store.

    stores: short name of a model → its store. stats: of each store that are read, by default all.
    """

    def __init__(self, stores: Mapping[str, FeatureStore], *, stats: Sequence[str] = ()) -> None:
        first = next(iter(stores.values()))
        super().__init__(first.folder)
        self._stores = dict(stores)
        self._of = {name: tuple(stats) or store.extraction.stats for name, store in stores.items()}
        widths = {
            f"{name}:{layer}": store.extraction.width(layer) * len(self._of[name])
            for name, store in stores.items()
            for layer in store.extraction.layers
        }
        self.extraction = replace(
            first.extraction,
            model=" + ".join(store.extraction.model for store in stores.values()),
            layers=tuple(widths),
            widths=tuple(widths.values()),
            stats=(STATES,),
        )

    def layer(self, name: str, keys: Sequence[str], *, stats: Sequence[str] | None = None) -> np.ndarray:
        """(N, width) float32, divided by its largest deviation.

        That factor is the same for all clips, so that scaling removes it again. Without it, columns of a
        model with small states would count as constant beside those of a model with large ones.
        """
        model, _, layer = name.partition(":")
        X = self._stores[model].layer(layer, keys, stats=self._of[model])
        largest = float(X.std(0, dtype=np.float64).max(initial=0))
        return X / np.float32(largest) if largest > 0 else X
