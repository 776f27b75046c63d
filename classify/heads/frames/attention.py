"""The head `attention`: a learnt weight of every frame, and a linear layer on the weighted mean.

One query vector: a frame's weight is the softmax, over the frames of its clip, of its product with the query
over the root of the number of columns (scaled dot products, Vaswani et al. 2017; pooling of speech frames as
in Safari, India & Hernando 2020). Query and linear layer are trained together, as `bilstm` is, and stop early
on held-out speakers. torch is imported on the first fit; prediction needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import optuna
from scipy.special import softmax

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params
from layerprobe.classify.heads.fitted import Stored, TrainingRows
from layerprobe.classify.heads.frames.fitting import fit_all, fit_fold


def space(trial: optuna.Trial) -> Params:
    return {
        "rate": trial.suggest_float("rate", 3e-4, 3e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    from layerprobe.classify.heads.solvers.frame_networks import build_attention

    return [fit_fold(features, prep, params, build=build_attention, seed=seed)]


@dataclass(frozen=True, kw_only=True)
class Attentive(Stored):
    """Attention pooling after its fit. query: (D,). W: (D, K). b: (K,)."""

    kind: ClassVar[str] = "attentive"
    query: np.ndarray
    W: np.ndarray
    b: np.ndarray

    def weights(self, frames: np.ndarray) -> np.ndarray:
        """(F,) weights of the frames (F, D) of a clip, which sum to 1."""
        return np.asarray(softmax(frames @ self.query / np.sqrt(np.float32(len(self.query)))))

    def scores(self, Z: ScaledFrames) -> np.ndarray:
        """Frames of m clips → (m, K), each clip by itself."""
        pooled = np.empty((len(Z), len(self.query)), np.float32)
        for clip in range(len(Z)):
            ((frames,), _) = Z.batch(np.array([clip]))
            pooled[clip] = self.weights(frames) @ frames
        return np.asarray(pooled @ self.W + self.b)


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> Attentive:
    """As `fit`, to score clips that are not known yet."""
    from layerprobe.classify.heads.solvers.frame_networks import build_attention

    tensors = fit_all(rows, params, build=build_attention, seed=seed)
    return Attentive(query=tensors["query"], W=tensors["out.weight"].T, b=tensors["out.bias"])


def parameters(columns: int, classes: int, _: Params) -> int:
    """The query and the linear layer."""
    return columns + (columns + 1) * classes


ATTENTION = Head(
    space=space,
    fit=fit,
    start={"rate": 3e-3, "dropout": 0.2, "class_weight": "balanced"},
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit,
    reads="frames",
    samplings=NO_SAMPLING,
)
