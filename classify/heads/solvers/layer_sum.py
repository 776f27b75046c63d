"""A softmax-weighted sum of layers under a linear classifier, both fitted at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from layerprobe.classify.heads.solvers.newton import cross_entropy

ITERATIONS = 200  # of L-BFGS
TOLERANCE = 1e-6  # least decrease in an iteration of the mean loss, in nats


@dataclass(frozen=True, kw_only=True)
class LayerSum:
    """(Σ softmax(logits)_l · X_l) W + b. logits: (L,). W: (r, K). b: (K,)."""

    logits: np.ndarray
    W: np.ndarray
    b: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """(L,) weights of the layers, which sum to 1."""
        return np.asarray(softmax(self.logits))

    def scores(self, X: np.ndarray) -> np.ndarray:
        """(L, m, r) → (m, K)."""
        return np.asarray(sum_layers(X, self.weights) @ self.W + self.b)


class LayerSumSolver:
    """Minimises the mean of weight · cross-entropy of a `LayerSum`, plus two penalties, from equal weights.

    X: (L, n, r) float32, columns (nearly) orthogonal. y: (n,) classes. weight: (n,). The penalties are
    penalty/2n · P · |W|², with P the power of the weighted sum (its rows' mean squared length), and
    evenness/2 · |logits|². With a fixed P, weights on a single layer would be cheaper than on several, whose
    noise averages out, only because their sum is shorter. Without evenness, all weight goes to the layer
    that fits the training clips best, which is not the one that serves others best.

    With fixed layer weights the problem is logistic regression and convex; together with them it is not, so
    the start decides which local minimum is found. L-BFGS in coordinates in which the curvature at the start
    is about one: a step reads X twice, once for the sum and once for the weights' gradient. Each call of
    `solve` starts from the previous solution.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray, *, classes: int) -> None:
        self._X, self._y, self._weight, self._classes = X, y, weight, classes
        layers, rows, columns = X.shape
        self._flat = X.reshape(layers, rows * columns)
        self._products = (self._flat @ self._flat.T).astype(np.float64) / rows  # (L, L), of layers
        mean = sum_layers(X, np.full(layers, 1 / layers))
        self._curvature = weight @ np.square(mean, dtype=np.float64) / classes
        self._now = LayerSum(logits=np.zeros(layers), W=np.zeros((columns, classes)), b=np.zeros(classes))

    def solve(self, *, penalty: float, evenness: float) -> LayerSum:
        """The solution for these penalties."""
        layers, n, columns = self._X.shape
        root = np.sqrt(n / (self._curvature + penalty * self._products.mean()))[:, None]
        units = [np.full(layers, float(layers)), np.broadcast_to(root, (columns, self._classes)).ravel()]
        unit = np.concatenate([*units, np.full(self._classes, np.sqrt(self._classes))])

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            at = self._unpack(point * unit)
            value, gradient = self._loss(at, penalty)
            value, gradient = value / n, gradient / n
            gradient[:layers] += evenness * at.logits
            return value + evenness / 2 * float(at.logits @ at.logits), gradient * unit

        start = np.concatenate([self._now.logits, self._now.W.ravel(), self._now.b]) / unit
        options = {"maxiter": ITERATIONS, "ftol": TOLERANCE, "gtol": 0.0}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        self._now = self._unpack(found.x * unit)
        return self._now

    def _unpack(self, point: np.ndarray) -> LayerSum:
        layers, end = len(self._X), len(point) - self._classes
        W = point[layers:end].reshape(-1, self._classes)
        return LayerSum(logits=point[:layers], W=W, b=point[end:])

    def _loss(self, at: LayerSum, penalty: float) -> tuple[float, np.ndarray]:
        """n times the objective without `evenness`, and its gradient: of logits, W and b, concatenated."""
        share = at.weights
        mixed = sum_layers(self._X, share)
        losses, slopes, _ = cross_entropy(mixed @ at.W + at.b, self._y)
        slopes *= self._weight[:, None]
        across, square = self._products @ share, float((at.W * at.W).sum())
        power = float(share @ across)
        by_layer = self._flat @ (slopes @ at.W.T).astype(np.float32).ravel() + penalty * square * across
        by_logit = share * (by_layer - share @ by_layer)
        by_W = mixed.T.astype(np.float64) @ slopes + penalty * power * at.W
        value = float(self._weight @ losses) + penalty / 2 * power * square
        return value, np.concatenate([by_logit, by_W.ravel(), slopes.sum(0)])


def sum_layers(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(L, n, r) float32, (L,) → (n, r) float32: the weighted sum of the layers."""
    return (weights.astype(np.float32) @ X.reshape(len(X), -1)).reshape(X.shape[1:])
