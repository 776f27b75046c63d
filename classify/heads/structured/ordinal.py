"""The head `ordinal`: proportional odds (McCullagh 1980), logistic regression for ordered levels.

The odds of a level of at most k are exp(threshold k − w·x): one direction in the states, and a threshold
between each two neighbouring levels. `C` is relative to the inputs' power, as of `logreg`; for two levels the
head is scikit-learn's LogisticRegression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import Head, Params, class_weight_space
from layerprobe.classify.heads.fitted import FittedHead, Stored, TrainingRows

STEPS = 1000  # of L-BFGS; some tens are usual
TOLERANCE = 1e-5  # largest gradient for each clip, in coordinates in which the curvature is about one
LEAST_GAP = 1e-6  # between thresholds, of which the logarithm is fitted


@dataclass(frozen=True, kw_only=True)
class Cumulative(Stored):
    """Log probabilities of K levels. W: (d, 1). thresholds: (K − 1,), rising."""

    kind: ClassVar[str] = "cumulative"
    W: np.ndarray
    thresholds: np.ndarray

    def scores(self, Z: np.ndarray) -> np.ndarray:
        return log_probabilities(Z @ self.W[:, 0], self.thresholds)


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.basis(prep)
    weight = features.weights(params["class_weight"])
    solver = ProportionalOdds(train, features.y, weight, levels=features.classes)
    scores = {}
    for C in sorted(values):  # from the strongest penalty; each solution is the start of the next
        w, thresholds = solver.solve(penalty=features.power(prep) / C)
        scores[C] = log_probabilities(test.astype(np.float64) @ w, thresholds)
    return [scores[C] for C in values]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single C, `value`, to score clips that are not known yet."""
    Z, rotation = rows.basis()
    solver = ProportionalOdds(Z, rows.y, rows.weights(params["class_weight"]), levels=rows.classes)
    w, thresholds = solver.solve(penalty=rows.power / value)
    return Cumulative(W=(rotation @ w)[:, None], thresholds=thresholds)


class ProportionalOdds:
    """Minimises −Σ weight · log P(level) + penalty/2 · |w|² over w (r,) and thresholds (K − 1,).

    Z: (n, r) with orthogonal columns, as of `FoldFeatures.basis`: scaled by the curvature of each, L-BFGS
    takes some tens of steps. y: (n,) levels from 0, each of which occurs. Each call of `solve` starts from
    the previous solution. Thresholds are fitted as the first one and the logarithms of the gaps, so that they
    stay in order.
    """

    def __init__(self, Z: np.ndarray, y: np.ndarray, weight: np.ndarray, *, levels: int) -> None:
        self._Z, self._y, self._weight, self._levels = Z.astype(np.float64), y, weight, levels
        self._square = weight @ np.square(self._Z) / 4  # the curvature of a logistic loss is at most 1/4
        share = np.cumsum(np.bincount(y, weights=weight, minlength=levels))[:-1] / weight.sum()
        start = np.log(share / (1 - share))
        self._w, self._shape = np.zeros(Z.shape[1]), np.append(start[:1], _log_gaps(start))

    def solve(self, *, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """w (r,) and thresholds (K − 1,) at the optimum for `penalty`."""
        total = self._weight.sum()
        root = np.append(1 / np.sqrt(self._square + penalty), np.full(len(self._shape), 1 / np.sqrt(total)))
        result: Any = minimize(
            lambda at: self._evaluate(at * root, penalty, root),
            np.append(self._w, self._shape) / root,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS, "maxcor": 20, "gtol": TOLERANCE * np.sqrt(total), "ftol": 1e-12},
        )
        best = result.x * root
        self._w, self._shape = best[: len(self._w)], best[len(self._w) :]
        return self._w, thresholds_of(self._shape)

    def _evaluate(self, at: np.ndarray, penalty: float, root: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective, and its gradient in the scaled coordinates."""
        w, shape = at[: len(self._w)], at[len(self._w) :]
        thresholds, gaps = thresholds_of(shape), np.exp(shape[1:])
        upper, lower = _bounds(self._Z @ w, thresholds, self._y)
        value = -float(self._weight @ _log_between(upper, lower)) + penalty / 2 * float(w @ w)
        with np.errstate(over="ignore"):
            between = 1 / np.expm1(upper - lower)  # 0 for the lowest and the highest level
        by_upper, by_lower = expit(-upper) + between, -expit(lower) - between
        slope = self._weight * (by_upper + by_lower)  # of −log P by the score, as both bounds fall with it
        by_threshold = np.zeros(self._levels + 1)
        np.add.at(by_threshold, self._y + 1, -self._weight * by_upper)
        np.add.at(by_threshold, self._y, -self._weight * by_lower)
        by_threshold = by_threshold[1:-1]
        rising = np.cumsum(by_threshold[::-1])[::-1]  # a gap moves every threshold above it
        by_shape = np.append(rising[:1], rising[1:] * gaps)
        return value, np.append(self._Z.T @ slope + penalty * w, by_shape) * root


def thresholds_of(shape: np.ndarray) -> np.ndarray:
    """(K − 1,) thresholds of the first one and the logarithms of the gaps."""
    return np.cumsum(np.append(shape[:1], np.exp(shape[1:])))


def log_probabilities(score: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(m, K) log P of each level, for (m,) scores w·x."""
    levels = np.arange(len(thresholds) + 1)
    bounds = [_bounds(score, thresholds, np.full(len(score), level)) for level in levels]
    return np.stack([_log_between(*each) for each in bounds], axis=1)


def _bounds(score: np.ndarray, thresholds: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower threshold of each clip's level, minus its score; ±inf at the ends."""
    ends = np.concatenate([[-np.inf], thresholds, [np.inf]])
    return ends[y + 1] - score, ends[y] - score


def _log_between(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """log(σ(upper) − σ(lower)), without cancellation: σ(u) σ(−l) (1 − exp(l − u))."""
    return -np.logaddexp(0, -upper) - np.logaddexp(0, lower) + np.log1p(-np.exp(lower - upper))


def _log_gaps(thresholds: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.diff(thresholds), LEAST_GAP))


def parameters(columns: int, classes: int, _: Params) -> int:
    return columns + classes - 1


ORDINAL_LOGISTIC = Head(
    space=class_weight_space,
    fit=fit,
    start={"class_weight": "balanced"},
    path=("C", (0.03, 0.15, 0.7, 3.0, 15.0, 70.0, 300.0)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit,
)
