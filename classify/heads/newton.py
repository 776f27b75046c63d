"""Linear classifiers with an L2 penalty, solved along the principal axes in few passes over the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS = 100  # of Newton's; five are usual
PRODUCTS = 300  # with the Hessian, for one step
TOLERANCE = 1e-5  # largest gradient in preconditioned coordinates, where curvature is at most about one
FORCING = 0.1  # share of a gradient that a step may leave
DECREASE = 1e-4  # of what the slope promises; a step that gives less is halved
SHORTEST = 1e-6
BLOCK, ROWS = 1 << 18, 512  # numbers, and rows, taken at a time at most: a core's cache holds them

# Multiplies (n, K) changes of scores by a loss's second derivatives, clip by clip.
Bend = Callable[[np.ndarray], np.ndarray]
# (n, K) scores, (n,) classes → (n,) losses, their (n, K) derivatives, and their bend in single precision.
Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, Bend]]


@dataclass
class _Place:
    """Weights W (r + 1, K), the objective there, its gradient, and each block of rows' bend."""

    W: np.ndarray
    value: float
    gradient: np.ndarray
    bends: list[Bend]


class Solver:
    """Minimises Σ weight · loss(Z W + b, y) + penalty/2 · |W|² over W (r, K) and intercepts b (K,).

    Newton's method, each step by conjugate gradients (Dembo, Eisenstat & Steihaug 1982). Gradients are taken
    in double precision, so that the optimum is reached; products with the Hessian, which are most of the
    work and need not be exact, in single.

    Z: (n, r) float32 with (nearly) orthogonal columns, as principal components are; the penalty does not
    see that rotation. `curvature` bounds the loss's second derivative at W = 0, where the Hessian is
    curvature · Zᵀ diag(weight) Z + penalty · I for each class: diagonal in this basis but for unequal
    weights. Dividing by its root leaves a nearly round bowl: 5 to 50 products where standardised columns take
    hundreds. A further call of `solve` goes on from where the last one ended.
    """

    def __init__(
        self, Z: np.ndarray, y: np.ndarray, weight: np.ndarray, *, classes: int, loss: Loss, curvature: float
    ) -> None:
        self._Z, self._y, self._weight, self._loss = np.ascontiguousarray(Z), y, weight, loss
        self._single = weight.astype(np.float32)[:, None]
        rows = min(ROWS, max(1, BLOCK // Z.shape[1]))
        self._blocks = [slice(begin, begin + rows) for begin in range(0, len(Z), rows)]
        self._curvature = np.append(weight @ (Z * Z), weight.sum()) * curvature
        self._W = np.zeros((Z.shape[1] + 1, classes))  # the intercepts are the last row

    def solve(self, *, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """W (r, K) and b (K,), float32."""
        penalties = np.full((len(self._W), 1), penalty)
        penalties[-1] = 0
        root = 1 / np.sqrt(self._curvature[:, None] + penalties)
        now = self._place(self._W, penalties)
        for _ in range(STEPS):
            if np.abs(now.gradient * root).max() < TOLERANCE:
                break
            step = self._step(now, penalties, root)
            following = self._following(now, step, penalties)
            if following is None:
                break  # rounding is all that is left to gain
            now = following
        self._W = now.W
        return now.W[:-1].astype(np.float32), now.W[-1].astype(np.float32)

    def _place(self, W: np.ndarray, penalties: np.ndarray) -> _Place:
        value = float((penalties * W * W).sum()) / 2
        gradient, bends = penalties * W, []
        for block in self._blocks:
            Z, weight = self._Z[block].astype(np.float64), self._weight[block]
            losses, slopes, bend = self._loss(Z @ W[:-1] + W[-1], self._y[block])
            slopes *= weight[:, None]
            gradient[:-1] += Z.T @ slopes
            gradient[-1] += slopes.sum(0)
            value += float(weight @ losses)
            bends.append(bend)
        return _Place(W, value, gradient, bends)

    def _step(self, now: _Place, penalties: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Towards the minimum of the parabola that the objective is like, by conjugate gradients."""
        left = -now.gradient * root
        square = float((left * left).sum())
        step, along, enough = np.zeros_like(left), left.copy(), FORCING**2 * square
        for _ in range(PRODUCTS):
            bent = root * self._bent(now, root * along, penalties)
            curvature = float((along * bent).sum())
            if curvature <= 0:
                break  # of rounding: the objective is convex
            step += square / curvature * along
            left -= square / curvature * bent
            before, square = square, float((left * left).sum())
            if square <= enough:
                break
            along = left + square / before * along
        return step * root

    def _bent(self, now: _Place, V: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """The Hessian's product with V (r + 1, K)."""
        product, W = penalties * V, V.astype(np.float32)
        for block, bend in zip(self._blocks, now.bends, strict=True):
            changes = bend(self._Z[block] @ W[:-1] + W[-1])
            changes *= self._single[block]
            product[:-1] += self._Z[block].T @ changes
            product[-1] += changes.sum(0)
        return product

    def _following(self, now: _Place, step: np.ndarray, penalties: np.ndarray) -> _Place | None:
        """Where the step leads, or the largest half, quarter ... of it that is low enough."""
        slope, share = float((now.gradient * step).sum()), 1.0
        while share > SHORTEST:
            there = self._place(now.W + share * step, penalties)
            if there.value <= now.value + DECREASE * share * slope:
                return there
            share /= 2
        return None


def cross_entropy(scores: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, Bend]:
    """−log softmax of the true class. At equal scores its curvature is 1/K."""
    rows = np.arange(len(y))
    scores = scores - scores.max(1, keepdims=True)
    P = np.exp(scores)
    total = P.sum(1, keepdims=True)
    losses = np.log(total[:, 0]) - scores[rows, y]
    P /= total
    shares = P.astype(np.float32)
    P[rows, y] -= 1

    def bend(changes: np.ndarray) -> np.ndarray:
        weighted: np.ndarray = shares * changes
        return weighted - shares * weighted.sum(1, keepdims=True)

    return losses, P, bend


def squared_hinge(scores: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, Bend]:
    """max(0, 1 − margin)², each class against the rest, summed over classes. Its curvature is 2."""
    sign = np.full(scores.shape, -1.0)
    sign[np.arange(len(y)), y] = 1
    short = np.maximum(0, 1 - sign * scores)
    bent = np.where(short > 0, np.float32(2), np.float32(0))
    return (short**2).sum(1), -2 * sign * short, lambda changes: bent * changes
