"""A multilayer perceptron after its fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class Network:
    """Layers of rectified linear units, the last one linear.

    layers: weights (columns, units) and biases (units,) of each, from the input. For two classes the last
    layer has a single unit, as in scikit-learn.
    """

    kind: ClassVar[str] = "network"
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def scores(self, Z: np.ndarray) -> np.ndarray:
        """(m, d) → (m, K), whose softmax has the probabilities."""
        for number, (W, b) in enumerate(self.layers):
            Z = (np.maximum(Z, 0) if number else Z) @ W + b
        return np.hstack([-Z, Z]) / 2 if Z.shape[1] == 1 else Z

    def save(self, folder: Path) -> dict[str, Any]:
        """As `heads.fitted.FittedHead`."""
        from safetensors.numpy import save_file

        from layerprobe.classify.heads.fitted import ARRAYS

        parts = {
            f"{name}{k}": array
            for k, pair in enumerate(self.layers)
            for name, array in zip("Wb", pair, strict=True)
        }
        save_file({name: np.ascontiguousarray(array) for name, array in parts.items()}, folder / ARRAYS)
        return {"layers": len(self.layers)}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Network:
        """Raises KeyError for a file that lacks a layer."""
        from layerprobe.classify.heads.fitted import ARRAYS, load_arrays

        held = load_arrays(folder / ARRAYS)
        return cls(tuple((held[f"W{k}"], held[f"b{k}"]) for k in range(settings["layers"])))
