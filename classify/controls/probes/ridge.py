"""Probes for numbers: ridge regression on every layer, R² on speakers that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from layerprobe.classify.controls.probes.linear import SHUFFLES
from layerprobe.classify.controls.probes.targets import FOLDS
from layerprobe.classify.controls.shuffled_labels import shuffle_within
from layerprobe.classify.features.scaling import orthogonal_columns, standardise
from layerprobe.classify.scores.sums import (
    moments,
    r_squared_differences,
    r_squared_intervals,
)
from layerprobe.classify.search.nested import derive_seed
from layerprobe.classify.tasks.task import sums_by_cluster

PENALTIES = tuple(10.0**power for power in range(-1, 5))  # times the power of the inputs


def ridge_layer(
    X: np.ndarray, Y: np.ndarray, folds: np.ndarray, groups: np.ndarray | None, *, seed: int
) -> dict[str, Any]:
    """Predictions of numbers Y (N, T) from the states X (N, D) of one layer.

    predicted: (T, N), each row by a fit to the other folds. control: (SHUFFLES, T, N), by fits to numbers
    that are shuffled within each of `groups` (N,), or over all rows where these are unknown. folds: (N,) from
    0 to FOLDS - 1. Each column has the penalty that predicts the training part's folds from each other best.
    """
    T = Y.shape[1]
    within = np.zeros(len(X), np.int64) if groups is None else groups
    predicted = np.full((1 + SHUFFLES, len(X), T), np.nan)
    for fold in range(FOLDS):
        train = np.flatnonzero(folds != fold)
        drawn = [Y]
        for draw in range(SHUFFLES):
            rng = np.random.default_rng(derive_seed(seed, "control task", "numbers", fold, draw))
            drawn.append(shuffle_within(Y, within, train, rng))
        columns = np.concatenate(drawn, axis=1)
        errors = np.zeros((len(PENALTIES), columns.shape[1]))
        for inner in (other for other in range(FOLDS) if other != fold):
            tested = folds == inner
            fitted = train[folds[train] != inner]
            fits = fit_ridge(X[fitted], columns[fitted], X[tested])
            errors += np.square(fits - columns[tested]).sum(1)
        best = errors.argmin(0)
        fits = fit_ridge(X[train], columns[train], X[folds == fold])
        chosen = fits[best, :, np.arange(columns.shape[1])].T
        predicted[:, folds == fold] = np.moveaxis(chosen.reshape(-1, 1 + SHUFFLES, T), 1, 0)
    by_target = np.moveaxis(predicted, 2, 1)
    return {"predicted": by_target[0].tolist(), "control": by_target[1:].tolist()}


def fit_ridge(X: np.ndarray, Y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(len(PENALTIES), m, T): the test rows predicted by a fit to X (n, D) and Y (n, T) for each penalty.

    Columns are standardised on X. In orthogonal columns each weight has its own closed form.
    """
    Z, rows = orthogonal_columns(*standardise(X, test, variance=True))
    power = float(np.square(Z).sum(dtype=np.float64) / len(Z))
    mean = Y.mean(0)
    products, squares = Z.T.astype(np.float64) @ (Y - mean), np.square(Z, dtype=np.float64).sum(0)
    weights = [products / (squares + penalty * power)[:, None] for penalty in PENALTIES]
    return np.stack([rows.astype(np.float64) @ w + mean for w in weights])


def number_scores(
    y: np.ndarray, results: Sequence[Mapping[str, Any]], place: int, clusters: np.ndarray
) -> list[dict[str, Any]]:
    """One entry for each layer's result of `ridge_layer`. y: (N,), column `place` of its numbers.

    r2: over all test rows together. control: mean R² with shuffled numbers. selectivity: r2 minus control.
    Intervals leave out each of the clusters (N,), speakers or clips, in turn.
    """
    predicted = np.array([result["predicted"][place] for result in results]).T
    control = np.array([[rows[place] for rows in result["control"]] for result in results])  # (L, S, N)
    errors = np.square(control - y).mean(1).T
    own = sums_by_cluster(moments(y, predicted), clusters)
    shuffled = own.copy()
    shuffled[..., 3] = sums_by_cluster(errors, clusters)
    scores, gains = r_squared_intervals(own), r_squared_differences(own, shuffled)
    return [
        {
            "r2": asdict(score),
            "control": {"value": score.value - difference.value},
            "selectivity": asdict(difference),
        }
        for score, difference in zip(scores, gains, strict=True)
    ]
