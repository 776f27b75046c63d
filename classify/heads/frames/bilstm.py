"""A bidirectional LSTM over the frames of one layer. torch, which trains it, is imported on the first fit."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params
from layerprobe.classify.heads.fitted import ARRAYS, TrainingRows, load_arrays
from layerprobe.classify.heads.frames.fitting import fit_all, fit_fold

HIDDEN = [32, 64, 128]  # units in each direction

_one_at_a_time = threading.Lock()  # `predict` sets the number of torch's threads, which is the process's


def space(trial: optuna.Trial) -> Params:
    return {
        "hidden": trial.suggest_categorical("hidden", HIDDEN),
        "rate": trial.suggest_float("rate", 3e-4, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "pooling": trial.suggest_categorical("pooling", ["mean", "last"]),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    from layerprobe.classify.heads.solvers.frame_networks import build_bilstm

    return [fit_fold(features, prep, params, build=build_bilstm, seed=seed)]


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """The network after its fit, for prediction on the CPU. tensors: its parameters by name."""

    kind: ClassVar[str] = "recurrent"
    tensors: Mapping[str, np.ndarray]
    width: int
    hidden: int
    pooling: str
    classes: int

    def scores(self, Z: ScaledFrames) -> np.ndarray:
        """Frames of m clips → (m, K). Raises ValueError for parameters that are not this network's."""
        from layerprobe.classify.heads.solvers.frame_networks import restore_bilstm
        from layerprobe.classify.heads.solvers.frame_training import predict

        with _one_at_a_time:
            model = restore_bilstm(
                self.tensors,
                width=self.width,
                classes=self.classes,
                hidden=self.hidden,
                pooling=self.pooling,
            )
            return predict(model, Z, np.arange(len(Z)), device="cpu")

    def save(self, folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save_file

        save_file(dict(self.tensors), folder / ARRAYS)
        return {name: getattr(self, name) for name in ("width", "hidden", "pooling", "classes")}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Recurrent:
        """Raises InputError for a damaged file."""
        return cls(tensors=load_arrays(folder / ARRAYS), **settings)


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> Recurrent:
    """As `fit`, to score clips that are not known yet."""
    from layerprobe.classify.heads.solvers.frame_networks import build_bilstm

    assert rows.frames is not None  # for the type checker: the search refuses stores without frames
    return Recurrent(
        tensors=fit_all(rows, params, build=build_bilstm, seed=seed),
        width=rows.frames.width,
        hidden=params["hidden"],
        pooling=params["pooling"],
        classes=rows.classes,
    )


def parameters(columns: int, classes: int, params: Params) -> int:
    """Both directions' four gates, each with torch's two biases, and the linear layer."""
    hidden = int(params["hidden"])
    return 2 * 4 * hidden * (columns + hidden + 2) + (2 * hidden + 1) * classes


BILSTM = Head(
    space=space,
    fit=fit,
    start={"hidden": 64, "rate": 2e-3, "dropout": 0.3, "pooling": "mean", "class_weight": "balanced"},
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit,
    reads="frames",
    samplings=NO_SAMPLING,
)
