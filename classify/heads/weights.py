"""The head `weights`: learnt weights of all layers, whose weighted sum a linear classifier reads.

As the downstream models of SUPERB (Yang et al. 2021), on pooled states: every layer is scaled by itself, the
weights are the softmax of a number for each layer, and they are learnt together with the classifier. States
with more than AXES columns are first projected on the AXES leading principal axes of all layers together;
SUPERB's models have a learnt projection there. `C` is relative to the power of the weighted sum, as that of
`logreg` to the power of its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import leading_eigenvectors
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.fitted import FittedHead, Linear, TrainingRows
from layerprobe.classify.heads.solvers.layer_sum import LayerSum, LayerSumSolver
from layerprobe.classify.scores.layer_weights import LAYER_WEIGHTS

AXES = 128
MOST_ROWS = 4096  # states of clips and layers, evenly spaced, that the axes are computed from
EVENNESS = [0.0003, 0.003, 0.03]  # penalties of logits: weights of almost one layer, to almost equal ones
PATH = (0.1, 0.7, 5.0, 35.0, 250.0)


def space(trial: optuna.Trial) -> Params:
    return {
        "evenness": trial.suggest_categorical("evenness", EVENNESS),
        "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    _, test = _stacked(features, prep)
    sums = _path(features, prep, params, values)
    return [sums[C].scores(test) for C in values]


def explain(
    features: FoldFeatures, prep: Preprocessing, params: Params, value: float, seed: int
) -> dict[str, Any]:
    """The weight of each layer, after a fit with these arguments."""
    return {LAYER_WEIGHTS: _path(features, prep, params, [value])[value].weights.tolist()}


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single C, `value`: one linear head on the columns of all layers side by side."""
    columns = rows.Z.shape[1]
    layers = [rows.Z[:, begin : begin + columns // rows.layers] for begin in _begins(rows)]
    axes = _axes(layers)
    X = np.stack(layers if axes is None else [layer @ axes for layer in layers])
    weight = rows.weights(params["class_weight"])
    found = _solve(X, rows.y, weight, params["evenness"], [value], classes=rows.classes)[value]
    W = found.W if axes is None else axes.astype(np.float64) @ found.W
    stacked = (found.weights[:, None, None] * W).reshape(columns, rows.classes)
    return Linear(W=stacked.astype(np.float32), b=found.b.astype(np.float32), classes=rows.classes)


def parameters(columns: int, classes: int, _: Params) -> int:
    return (min(columns, AXES) + 1) * classes


def _begins(rows: TrainingRows) -> range:
    columns = rows.Z.shape[1]
    return range(0, columns, columns // rows.layers)


def _stacked(features: FoldFeatures, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """(L, n, r) and (L, m, r) float32: training and test rows of every layer."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        each = [replace(prep, layer=layer) for layer in range(len(features.layers))]
        axes = _axes([features.inputs(one)[0] for one in each])
        pairs = [features.inputs(one) for one in each]
        train, test = (np.stack([_project(pair[part], axes) for pair in pairs]) for part in (0, 1))
        return train, test

    stacked: tuple[np.ndarray, np.ndarray] = features.cached(("stacked", prep), make)
    return stacked


def _project(rows: np.ndarray, axes: np.ndarray | None) -> np.ndarray:
    return rows if axes is None else rows @ axes


def _axes(layers: Sequence[np.ndarray]) -> np.ndarray | None:
    """(D, AXES) float32: the leading principal axes of all layers' rows together; None for few columns.

    layers: L arrays (n, D), each centred.
    """
    width = layers[0].shape[1]
    if width <= AXES:
        return None
    step = -(-len(layers) * len(layers[0]) // MOST_ROWS)
    rows = np.concatenate([layer[number % step :: step] for number, layer in enumerate(layers)])
    _, axes = leading_eigenvectors((rows.T @ rows).astype(np.float64), AXES)
    return np.ascontiguousarray(axes, np.float32)


def _path(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float]
) -> dict[float, LayerSum]:
    """C → the solution, for `values`, each computed once."""
    kind, evenness = params["class_weight"], params["evenness"]

    def make() -> dict[float, LayerSum]:
        train, _ = _stacked(features, prep)
        weight = features.weights(kind)
        return _solve(train, features.y, weight, evenness, values, classes=features.classes)

    key = ("layer sums", prep, kind, evenness, features.labels_digest, tuple(values))
    sums: dict[float, LayerSum] = features.cached(key, make)
    return sums


def _solve(
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    evenness: float,
    values: Sequence[float],
    *,
    classes: int,
) -> dict[float, LayerSum]:
    """C → the solution, from the strongest penalty; each solution is the start of the next.

    Values of PATH below the largest one are always passed, so that a value's solution does not depend on
    which others are asked for.
    """
    solver = LayerSumSolver(X, y, weight, classes=classes)
    passed = sorted({*values, *(C for C in PATH if max(values) > C)})
    penalty = 2 if classes == 2 else 1  # of scikit-learn's, which has one weight vector for two classes
    return {C: solver.solve(penalty=penalty / C, evenness=evenness) for C in passed}


WEIGHTS = Head(
    space=space,
    fit=fit,
    start={"evenness": 0.003, "class_weight": "balanced"},
    path=("C", PATH),
    scalings=frozenset({"none", "standard", "speaker"}),
    parameters=parameters,
    refit=refit,
    together=True,
    explain=explain,
)
