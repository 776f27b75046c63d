"""Laplace's approximation of Gaussian process classification: modes of posteriors, and predictions from them.

Numbers in parentheses are algorithms of Rasmussen & Williams (2006), chapter 3. scikit-learn's classifier
finds every mode twice, with factors in double precision: here the same modes take a fraction of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import erf, expit

from layerprobe.classify.heads.fitted import Stored, kernel_rows

LEAST = 1e-12  # probability
STEPS = 100  # of Newton's method
TOLERANCE = 1e-8  # twice what the last step adds to the log posterior, in nats
HALVINGS = 20
# The logistic function as a sum of five error functions (Williams & Barber 1998, appendix A), as scikit-learn
# has it: their widths and weights.
WIDTHS = np.array([0.41, 0.4, 0.37, 0.44, 0.39])[:, None]
SHARES = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])[:, None]


def fit_laplace(Z: np.ndarray, y: np.ndarray, *, classes: int, length: float, variance: float) -> Laplace:
    """Gaussian processes with the kernel variance · exp(−|z − z'|² / 2 length²), each class against the rest.

    Z: (n, d) training rows. y: (n,) classes.
    """
    K = _kernel(Z, Z, length=length, variance=variance)
    single = K.astype(np.float32)
    positive = [y == number for number in range(classes)][1 if classes == 2 else 0 :]
    modes = [_mode(K, single, one) for one in positive]
    slopes, roots = (np.stack(part, axis=1) for part in zip(*modes, strict=True))
    return Laplace(anchors=Z, slopes=slopes, roots=roots, length=length, variance=variance)


def _mode(K: np.ndarray, single: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) gradients of the log likelihood at the posterior's mode, and roots of its curvature there (3.1).

    K: (n, n), and in single precision. Newton's method for a with f = K a, which is the gradient at the mode.
    Steps are solved in single precision; the gradients, in double, decide where they end.
    """
    sign = np.where(positive, 1.0, -1.0)
    a = f = np.zeros(len(K))
    value = _log_posterior(a, f, sign)
    for _ in range(STEPS):
        p = expit(f)
        root, residual = np.sqrt(p * (1 - p)), positive - p - a
        low = root.astype(np.float32)
        B = single * low
        B *= low[:, None]
        B.flat[:: len(B) + 1] += 1
        factor = cholesky(B, lower=True, overwrite_a=True, check_finite=False)
        solved = cho_solve((factor, True), (root * (K @ residual)).astype(np.float32), check_finite=False)
        step = residual - root * solved
        change = K @ step
        gain = float(residual @ change)
        for _ in range(HALVINGS):
            reached = _log_posterior(a + step, f + change, sign)
            if reached >= value - TOLERANCE:
                break
            step, change = step / 2, change / 2
        a, f, value = a + step, f + change, reached
        if gain < TOLERANCE:
            break
    p = expit(f)
    return positive - p, np.sqrt(p * (1 - p))


def _log_posterior(a: np.ndarray, f: np.ndarray, sign: np.ndarray) -> float:
    """Of f = K a, up to a constant."""
    return float(-a @ f / 2 - np.logaddexp(0, -sign * f).sum())


def _kernel(Z: np.ndarray, anchors: np.ndarray, *, length: float, variance: float) -> np.ndarray:
    rows, columns = Z.astype(np.float64), anchors.astype(np.float64)
    return np.asarray(variance * kernel_rows(rows, columns, 1 / (2 * length**2)))


@dataclass(frozen=True, kw_only=True)
class Laplace(Stored):
    """Gaussian processes of C classes, each against the rest, at the modes of their posteriors.

    anchors: (n, d) training rows. slopes: (n, C) gradients of the log likelihood there, and roots: (n, C) of
    its curvature. Two classes are one process, C = 1. The Cholesky factors, (n, n) for each, are computed
    again from these on the first use: a file of them would be a hundred times as large.
    """

    kind: ClassVar[str] = "laplace"
    anchors: np.ndarray
    slopes: np.ndarray
    roots: np.ndarray
    length: float
    variance: float

    def scores(self, Z: np.ndarray) -> np.ndarray:
        """Log probabilities, as scikit-learn's `predict_proba` (3.2)."""
        across, positive = self._kernel(Z), []
        for number, factor in enumerate(self._factors):
            mean = across @ self.slopes[:, number]
            solved = solve_triangular(factor, self.roots[:, number, None] * across.T, lower=True)
            spread = self.variance - np.einsum("ij,ij->j", solved, solved)
            steepness = np.sqrt(1 / (1 + 2 * spread * WIDTHS**2))
            positive.append((SHARES * erf(WIDTHS * mean * steepness)).sum(0) / 2 + SHARES.sum() / 2)
        P = np.stack(positive, axis=1)
        P = np.hstack([1 - P, P]) if P.shape[1] == 1 else P / P.sum(1, keepdims=True)
        return np.asarray(np.log(np.maximum(P, LEAST)))

    def save(self, folder: Path) -> dict[str, Any]:
        return super(Laplace, replace(self)).save(folder)  # a copy has no factors yet

    @cached_property
    def _factors(self) -> list[np.ndarray]:
        K = self._kernel(self.anchors)
        return [cholesky(np.eye(len(K)) + root[:, None] * K * root, lower=True) for root in self.roots.T]

    def _kernel(self, Z: np.ndarray) -> np.ndarray:
        return _kernel(Z, self.anchors, length=self.length, variance=self.variance)
