"""A bidirectional LSTM over the frames of one layer. torch, which trains it, is imported on the first fit."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna

from layerprobe.classify.data.group_folds import balanced_group_folds, stratified_folds
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import NO_SAMPLING, Head, Params
from layerprobe.classify.heads.fitted import ARRAYS, TrainingRows, load_arrays

HIDDEN = [32, 64, 128]  # units in each direction
HELD_OUT = 5  # one fold of so many of the training clips decides when to stop

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
    from layerprobe.classify.heads.solvers.bilstm_torch import best_device, predict, train

    device = best_device()
    states = features.layers[prep.layer]
    scaled: ScaledFrames = features.cached(
        ("frames", prep),
        lambda: ScaledFrames.fit(
            states.frames(), train=features.train, scaling=prep.scaling, speakers=states.speakers
        ),
    )
    speakers = None if states.speakers is None else states.speakers[features.train]
    validation = validation_mask(features.y, speakers, seed=seed)
    fitted = train(
        scaled,
        features.train,
        features.y,
        validation,
        weights=features.weights(params["class_weight"]),
        classes=features.classes,
        params=params,
        device=device,
        seed=seed,
    )
    return [predict(fitted, scaled, features.test, device=device)]


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
        from layerprobe.classify.heads.solvers.bilstm_torch import predict, restore

        with _one_at_a_time:
            model = restore(
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
    from layerprobe.classify.heads.solvers.bilstm_torch import best_device, train

    scaled = rows.frames
    assert scaled is not None  # for the type checker: the search refuses stores without frames
    model = train(
        scaled,
        np.arange(len(rows.y)),
        rows.y,
        validation_mask(rows.y, rows.speakers, seed=seed),
        weights=rows.weights(params["class_weight"]),
        classes=rows.classes,
        params=params,
        device=best_device(),
        seed=seed,
    )
    return Recurrent(
        tensors={name: tensor.cpu().contiguous().numpy() for name, tensor in model.state_dict().items()},
        width=scaled.width,
        hidden=params["hidden"],
        pooling=params["pooling"],
        classes=rows.classes,
    )


def parameters(columns: int, classes: int, params: Params) -> int:
    """Both directions' four gates, each with torch's two biases, and the linear layer."""
    hidden = int(params["hidden"])
    return 2 * 4 * hidden * (columns + hidden + 2) + (2 * hidden + 1) * classes


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
