"""Ridge regression for a single penalty, by one Cholesky factor in single precision."""

from __future__ import annotations

import numpy as np
import scipy.linalg

ROWS_PER_ALPHA = 10_000  # single precision suffices up to so many rows for each unit of the relative penalty


def suffices(rows: int, *, alpha: float) -> bool:
    """Whether single precision does for a penalty of `alpha` times the power of the inputs.

    The equations' condition number is then at most ROWS_PER_ALPHA: the largest eigenvalue is at most the rows
    times the power.
    """
    return rows <= ROWS_PER_ALPHA * alpha


def solve(
    Z: np.ndarray, targets: np.ndarray, weight: np.ndarray, *, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """W (d, K) and b (K,), float32, that minimise Σ weight · |targets − Z W − b|² + penalty · |W|².

    Z: (n, d) float32. targets: (n, K). weight: (n,). Solved in the smaller of n and d (Saunders et al. 1998).
    """
    centre, offset = weight @ Z / weight.sum(), np.average(targets, axis=0, weights=weight)
    root = np.sqrt(weight).astype(np.float32)[:, None]
    rows = Z - centre.astype(np.float32)
    rows *= root
    wanted = ((targets - offset) * root).astype(np.float32)
    if len(rows) < rows.shape[1]:
        W = rows.T @ _solve(rows @ rows.T, wanted, penalty)
    else:
        W = _solve(rows.T @ rows, rows.T @ wanted, penalty)
    return W, (offset - centre @ W).astype(np.float32)


def _solve(A: np.ndarray, B: np.ndarray, penalty: float) -> np.ndarray:
    A.flat[:: len(A) + 1] += penalty
    factor = scipy.linalg.cho_factor(A.T, overwrite_a=True, check_finite=False)  # LAPACK's order of memory
    return np.asarray(scipy.linalg.cho_solve(factor, B, check_finite=False))
