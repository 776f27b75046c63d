"""The head `xgboost`: gradient-boosted trees (XGBoost, Chen & Guestrin 2016) on few columns, quantised once.

One booster is scored after each number of rounds on the path, and the inner folds choose the number; a
search that sees no gain stops growing it. Early stopping on the log loss of held-out speakers would stop
where trees become overconfident, well before the best recall, and remove speakers from training.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import xgboost

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.streamed.rows import StreamedRows, row_blocks
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows, Trees

CPU, CUDA = "cpu", "cuda"
DRIVER = "libcuda.so.1"  # comes with NVIDIA's driver

BINS = 64


def tree_space(trial: optuna.Trial) -> Params:
    """The trees' own parameters."""
    return {
        "max_depth": trial.suggest_int("max_depth", 2, 4),
        "learning_rate": trial.suggest_float("learning_rate", 0.05, 0.5, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.1, 0.6),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.1, 10.0, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-2, 1e2, log=True),
        "reg_alpha": trial.suggest_float("reg_alpha", 1e-3, 1e1, log=True),
    }


def space(trial: optuna.Trial) -> Params:
    weights = ["none", "balanced"]
    return {**tree_space(trial), "class_weight": trial.suggest_categorical("class_weight", weights)}


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> Iterator[np.ndarray]:
    matrix = quantised(features, prep, params["class_weight"])
    booster = xgboost.Booster(settings(params, classes=features.classes, seed=seed), [matrix])
    test = _test_rows(features, prep)
    grown = 0
    for rounds in map(int, values):  # the same trees as one call of `xgboost.train` for all rounds
        for number in range(grown, rounds):
            booster.update(matrix, number)
        grown = rounds
        margin = _margins(booster, test)
        yield np.column_stack([-margin, margin]) / 2 if features.classes == 2 else margin


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single number of rounds, `value`, to score clips that are not known yet."""
    weight, rounds = rows.weights(params["class_weight"]), int(value)
    matrix = quantile_matrix(rows.Z, rows.y, weight)
    booster = xgboost.train(settings(params, classes=rows.classes, seed=seed), matrix, rounds)
    return Trees(booster=booster, rounds=rounds, classes=rows.classes)


def settings(params: Params, *, classes: int, seed: int) -> Params:
    """XGBoost's own parameters of a classifier."""
    multiclass = {"objective": "multi:softprob", "num_class": classes}
    own = {name: value for name, value in params.items() if name != "class_weight"}
    objective = multiclass if classes > 2 else {"objective": "binary:logistic"}
    return {**tree_settings(own, seed=seed), **objective}


def tree_settings(params: Params, *, seed: int) -> Params:
    """XGBoost's own parameters but the objective: one thread, and a GPU if available."""
    return {
        **params,
        "tree_method": "hist",
        "max_bin": BINS,
        "nthread": 1,
        "seed": seed,
        "device": tree_device(),
        "verbosity": 0,  # else it warns at every prediction that the rows are not on the GPU
    }


def quantised(features: FoldFeatures, prep: Preprocessing, weighting: str) -> Any:
    """The training rows with quantised columns, computed once for all trials that use them."""
    train, _ = features.inputs(prep)

    return features.cached(
        ("quantised", prep, weighting, features.labels_digest),
        lambda: quantile_matrix(train, features.y, features.weights(weighting)),
        size=train.shape[0] * train.shape[1],  # one byte per bin number
    )


def _test_rows(features: FoldFeatures, prep: Preprocessing) -> Any:
    """The test rows as XGBoost's matrix, made once for all trials that use them, or `StreamedRows`."""
    _, test = features.inputs(prep)
    if isinstance(test, StreamedRows):
        return test
    return features.cached(
        ("test rows", prep),
        lambda: xgboost.DMatrix(np.ascontiguousarray(test), nthread=1),
        size=8 * test.shape[0] * test.shape[1],  # a number and its column
    )


def _margins(booster: xgboost.Booster, test: Any) -> np.ndarray:
    """(m, K), or (m,) of two classes. Of rows in memory only the trees since the last call are computed."""
    if not isinstance(test, StreamedRows):
        return np.asarray(booster.predict(test, output_margin=True))
    blocks = (np.ascontiguousarray(block) for _, block in row_blocks(test))
    return np.concatenate([booster.inplace_predict(block, predict_type="margin") for block in blocks])


def quantile_matrix(rows: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Any:
    """Quantised rows (n, d), one byte per number; of `StreamedRows`, read block by block."""
    if isinstance(rows, StreamedRows):
        return xgboost.QuantileDMatrix(_RowIterator(rows, y, weight), max_bin=BINS, nthread=1)
    dense = np.ascontiguousarray(rows)
    return xgboost.QuantileDMatrix(dense, y, weight=weight, max_bin=BINS, nthread=1)


class _RowIterator(xgboost.DataIter):
    """Hands XGBoost one block of rows after the other, as often as it needs them."""

    def __init__(self, rows: StreamedRows, y: np.ndarray, weight: np.ndarray) -> None:
        super().__init__()
        self._rows, self._y, self._weight = rows, y, weight
        self._blocks = row_blocks(rows)

    def reset(self) -> None:
        """Begin again at the first row."""
        self._blocks = row_blocks(self._rows)

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand over the next block; False at the end."""
        part, block = next(self._blocks, (None, None))
        if part is None:
            return False
        input_data(data=np.ascontiguousarray(block), label=self._y[part], weight=self._weight[part])
        return True


_ANYWHERE = Head(
    space=space,
    fit=fit,
    start={
        "max_depth": 3,
        "learning_rate": 0.2,
        "subsample": 0.8,
        "colsample_bytree": 0.5,
        "min_child_weight": 1.0,
        "reg_lambda": 1.0,
        "reg_alpha": 1e-3,
        "class_weight": "balanced",
    },
    path=("rounds", (12, 25, 50, 100)),
    pca=(0, 16, 32, 64),
    widest=160,
    scalings=frozenset({"standard", "speaker"}),
    refit=refit,
)
XGBOOST = replace(_ANYWHERE, streamed=_ANYWHERE)


@functools.cache
def tree_device() -> str:
    """`cuda` where XGBoost can grow trees on a GPU, else `cpu`.

    A GPU may be too old for the library, or full: a tiny fit checks this. Hide it with CUDA_VISIBLE_DEVICES
    to grow trees on the CPU.
    """
    if not xgboost.build_info().get("USE_CUDA") or not visible_gpus():
        return CPU
    rows = np.array([[0.0], [1.0]], np.float32)
    try:
        matrix = xgboost.QuantileDMatrix(rows, [0, 1])
        booster = xgboost.train({"device": CUDA, "tree_method": "hist", "verbosity": 0}, matrix, 1)
        booster.inplace_predict(rows)
    except xgboost.core.XGBoostError:
        return CPU
    return CUDA


def visible_gpus() -> int:
    """The number of GPUs that NVIDIA's driver offers this process; respects CUDA_VISIBLE_DEVICES."""
    count = ctypes.c_int()
    try:
        driver = ctypes.CDLL(DRIVER)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value
