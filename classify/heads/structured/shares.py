"""Shares of votes: heads for classes that minimise the log loss of a distribution instead of one class.

A clip with shares q is worth as many copies of it as there are classes, the copy of class k weighted by q_k
(times the class's weight, if classes are balanced): the log loss of the copies is that of the distribution.
Logistic regression, `weights` and the networks on frames take the distribution itself, with the same loss,
gradients and optimum; XGBoost is given the copies. Heads whose loss is not the log loss (svm, ridge), that
take no weights (lda, gp, mlp's early stopping) or count neighbours (knn) are not offered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.fitted import Constant, FittedHead, TrainingRows

WEIGHTING = "class_weight"


def on_shares(head: Head) -> Head:
    """The head for shares (n, K) that `head` is for classes, given the shares as they are."""
    explain_one = head.explain

    def fit(
        features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
    ) -> Iterable[np.ndarray]:
        return head.fit(weighted(features, params), prep, unweighted(params), values, seed)

    def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
        y, weight = weighted_shares(rows.y, str(params.get(WEIGHTING, "none")))
        return head.refit(replace(rows, y=y, shares=weight), unweighted(params), value, seed)

    def explain(
        features: FoldFeatures, prep: Preprocessing, params: Params, value: float, seed: int
    ) -> dict[str, Any]:
        assert explain_one is not None  # for the type checker
        return explain_one(weighted(features, params), prep, unweighted(params), value, seed)

    return replace(
        head,
        fit=fit,
        refit=refit,
        explain=None if explain_one is None else explain,
        streamed=None if head.streamed is None else on_shares(head.streamed),
    )


def on_copies(head: Head) -> Head:
    """As `on_shares`, for a head that reads `inputs`, `y` and `weights` of a fold: it is given the copies."""

    def fit(
        features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
    ) -> Iterable[np.ndarray]:
        return head.fit(Copies(features), prep, params, values, seed)

    def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
        row, y, share = copies(rows.y)
        return head.refit(replace(rows, Z=rows.Z[row], y=y, shares=share), params, value, seed)

    # Copies of rows are made in memory.
    return replace(head, fit=fit, refit=refit, streamed=None)


class Copies(FoldFeatures):
    """A fold with a training row for each class that a clip has votes for, weighted by its share.

    Scaling and principal axes are those of the clips, each counted once.
    """

    def __init__(self, features: FoldFeatures) -> None:
        self.__dict__.update(vars(features))
        self._of = features
        self._row, self.y, self._shares = copies(features.y)
        self.labels_digest = digest(features.y)

    def inputs(self, prep: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        train, test = self._of.inputs(prep)
        return train[self._row], test


def copies(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(r,) row, class and share of each positive entry of y (n, K)."""
    row, label = np.nonzero(y)
    return row, label, y[row, label]


def weighted(features: FoldFeatures, params: Params) -> FoldFeatures:
    """The same fold, whose shares and weights of rows are weighted by class as the parameters say."""
    other, kind = copy(features), str(params.get(WEIGHTING, "none"))
    other.y, other._shares = weighted_shares(features.y, kind)
    other.labels_digest = digest(features.y) + kind
    return other


def weighted_shares(y: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, K) shares that sum to 1, and (n,) weights of rows: together the loss of the weighted copies.

    kind: `none`, or `balanced`: every class has the same total, as in `features.row_weights`.
    """
    total = y.sum(0)
    by_class = np.ones_like(total)
    if kind == "balanced":
        by_class = np.divide(total.sum(), len(total) * total, out=by_class, where=total > 0)
    scaled = y * by_class
    weight = scaled.sum(1)
    return scaled / weight[:, None], weight


def unweighted(params: Params) -> Params:
    return {**params, WEIGHTING: "none"} if WEIGHTING in params else params


def digest(y: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()


def mean_shares(head: Head) -> Head:
    """The baseline without features: the mean shares of the training clips. head: `majority`."""

    def fit(
        features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
    ) -> list[np.ndarray]:
        return [np.tile(_log_mean(features.y), (len(features.test), 1))]

    def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
        return Constant(_log_mean(rows.y))

    return replace(head, fit=fit, refit=refit)


def _log_mean(y: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(y.mean(0)))
