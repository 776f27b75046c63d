"""Products of a matrix with few columns, such as one for each class."""

from __future__ import annotations

import numpy as np

# Up to so many multiplications, OpenBLAS has kernels for small matrices on processors with AVX-512.
SMALL = 10**6
# Beyond, it multiplies with up to FEW columns faster one by one, and with more in groups of GROUP.
FEW, GROUP = 5, 4


def thin_product(A: np.ndarray, V: np.ndarray) -> np.ndarray:
    """A V, (m, K), of A (m, r) and V (r, K) with few columns: as `A @ V`, if large in about half the time."""
    r, columns = V.shape
    if len(A) * r * columns <= SMALL:
        return np.asarray(A @ V)
    if columns <= FEW:
        product = np.empty((columns, len(A)), np.result_type(A, V))
        for row, column in zip(product, np.ascontiguousarray(V.T), strict=True):
            np.dot(A, column, out=row)
        return product.T
    padded = np.zeros((r, columns + -columns % GROUP), V.dtype)
    padded[:, :columns] = V
    return np.asarray((A @ padded)[:, :columns])
