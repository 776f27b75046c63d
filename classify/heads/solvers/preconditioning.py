"""Coordinates in which the Hessian of a linear classifier's objective is close to the identity."""

from __future__ import annotations

import numpy as np
import scipy.linalg


class Diagonal:
    """Preconditioning by a diagonal Hessian (r + 1,): coordinates in which curvature is about one."""

    def __init__(self, hessian: np.ndarray, penalties: np.ndarray) -> None:
        self._root = 1 / np.sqrt(hessian[:, None] + penalties)

    def inner(self, V: np.ndarray) -> np.ndarray:
        """From these coordinates to weights, (r + 1, K)."""
        return V * self._root

    def outer(self, G: np.ndarray) -> np.ndarray:
        """From gradients of the weights to those of these coordinates."""
        return G * self._root


class Triangular:
    """The same by a Cholesky factor, in single precision, of a Hessian (r + 1, r + 1) of any columns."""

    def __init__(self, hessian: np.ndarray, penalties: np.ndarray) -> None:
        H = hessian.astype(np.float64)
        H.flat[:: len(H) + 1] += penalties[:, 0]
        self._R = scipy.linalg.cholesky(H, check_finite=False, overwrite_a=True).astype(np.float32)

    def inner(self, V: np.ndarray) -> np.ndarray:
        return self._solve(V, transposed=0)

    def outer(self, G: np.ndarray) -> np.ndarray:
        return self._solve(G, transposed=1)

    def _solve(self, V: np.ndarray, *, transposed: int) -> np.ndarray:
        solved = scipy.linalg.solve_triangular(
            self._R, V.astype(np.float32), trans=transposed, check_finite=False
        )
        return np.asarray(solved, np.float64)
