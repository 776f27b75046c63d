"""Scores from votes: of support vector machines, one against one, and of nearest neighbours."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

ROWS = 4096  # whose neighbours are found at a time


def decision(svc: Any, kernel: np.ndarray) -> np.ndarray:
    """(m, K) scores of (m, n) kernel rows: scikit-learn's `decision_function` by one matrix product."""
    classes = len(svc.classes_)
    weights, intercepts = svc.dual_coef_, svc.intercept_
    if classes == 2:
        return vote(-(kernel[:, svc.support_] @ weights[0] + intercepts[0])[:, None], classes=2)
    ends = np.cumsum(svc.n_support_)
    of = [slice(end - count, end) for count, end in zip(svc.n_support_, ends, strict=True)]
    coefficients = np.zeros((kernel.shape[1], len(intercepts)), kernel.dtype)
    for column, (i, j) in zip(coefficients.T, combinations(range(classes), 2), strict=True):
        column[svc.support_[of[i]]] = weights[j - 1, of[i]]
        column[svc.support_[of[j]]] = weights[i, of[j]]
    return vote(kernel @ coefficients + intercepts, classes=classes)


def vote(values: np.ndarray, *, classes: int) -> np.ndarray:
    """(m, K) scores: each class's votes against the others, with ties broken by confidence.

    values: (m, K (K - 1) / 2), positive for the first class of a pair. For two classes, the scores are ±
    values.
    """
    if classes == 2:
        return np.hstack([values, -values])
    votes, confidences = np.zeros((2, len(values), classes))
    for (i, j), value in zip(combinations(range(classes), 2), values.T, strict=True):
        votes[:, i] += value >= 0
        votes[:, j] += value < 0
        confidences[:, i] += value
        confidences[:, j] -= value
    return votes + confidences / (3 * (np.abs(confidences) + 1))


def nearest(rows: np.ndarray, anchors: np.ndarray, *, count: int) -> np.ndarray:
    """(m, min(count, a)) indices of the anchors (a, d) with the largest products, the largest first."""
    count = min(count, len(anchors))
    out = np.empty((len(rows), count), np.int64)
    for begin in range(0, len(rows), ROWS):
        products = rows[begin : begin + ROWS] @ anchors.T
        most = np.argpartition(-products, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(products, most, 1), axis=1, kind="stable")
        out[begin : begin + ROWS] = np.take_along_axis(most, order, 1)
    return out


def neighbour_votes(nearest: np.ndarray, y: np.ndarray, weight: np.ndarray, *, classes: int) -> np.ndarray:
    """(m, K) share of the votes of the rows `nearest` (m, k), each with its weight, for each class."""
    votes = np.stack([(weight[nearest] * (y[nearest] == k)).sum(1) for k in range(classes)], axis=1)
    return np.asarray(votes / votes.sum(1, keepdims=True))
