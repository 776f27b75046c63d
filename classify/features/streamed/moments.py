"""What scaling and principal axes need of many rows, each in one pass over blocks of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.sparse import csr_array

from layerprobe.classify.features.scaling import varies


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A shift and then a factor of each column, float32: (d,), or (S, d) with a row for each speaker.

    spread: (d,) float64 mean squares of the rows that it was fitted to, after it.
    """

    mean: np.ndarray
    factor: np.ndarray
    spread: np.ndarray

    @property
    def nbytes(self) -> int:
        return int(self.mean.nbytes + self.factor.nbytes + self.spread.nbytes)

    def apply(self, X: np.ndarray) -> np.ndarray:
        """(r, d) float32 → the same."""
        Z = X - self.mean
        Z *= self.factor
        return Z

    def times(self, weight: float) -> Affine:
        """The same, and then a factor of all columns."""
        factor = self.factor * np.float32(weight)
        return Affine(mean=self.mean, factor=factor, spread=self.spread * weight**2)

    def apply_by(self, X: np.ndarray, speakers: np.ndarray) -> np.ndarray:
        """As `apply`, each row with the shift and factor of its speaker (r,)."""
        Z = X - self.mean[speakers]
        Z *= self.factor[speakers]
        return Z


def fit_columns(blocks: Iterable[np.ndarray], *, variance: bool) -> Affine:
    """As `scaling.scale`: zero mean, if `variance` unit variance, and zeros for constant columns.

    blocks: (r, d) float32, all rows. Sums are of differences from the first block's mean, in double
    precision, so nothing is lost where means far exceed deviations.
    """
    rows, shift, sums, squares = 0, None, 0.0, 0.0
    for X in blocks:
        if shift is None:
            shift = X.mean(0, dtype=np.float64).astype(np.float32)
        centred = X - shift
        rows += len(X)
        sums = sums + centred.sum(0, dtype=np.float64)
        squares = squares + np.square(centred, out=centred).sum(0, dtype=np.float64)
    if shift is None:
        raise ValueError("no rows to fit a scaling to")
    offset = np.asarray(sums) / rows
    mean = shift + offset
    deviations = np.sqrt(np.maximum(np.asarray(squares) / rows - offset**2, 0))
    return _affine(mean, deviations, variance=variance)


def fit_speakers(blocks: Iterable[tuple[np.ndarray, np.ndarray]], *, speakers: int) -> Affine:
    """As `scaling.scale_by_speaker`: zero mean and unit variance over the rows of each speaker.

    blocks: rows (r, d) float32 with the speaker's number (r,) of each. speakers: how many there are.
    """
    counts, shift = np.zeros(speakers), None
    sums = squares = np.empty(0)
    for X, of in blocks:
        if shift is None:
            shift = X.mean(0, dtype=np.float64).astype(np.float32)
            sums, squares = np.zeros((2, speakers, X.shape[1]))
        members = csr_array((np.ones(len(of)), (of, np.arange(len(of)))), shape=(speakers, len(of)))
        centred = (X - shift).astype(np.float64)
        counts += np.bincount(of, minlength=speakers)
        sums += members @ centred
        squares += members @ np.square(centred, out=centred)
    if shift is None:
        raise ValueError("no rows to fit a scaling to")
    rows = np.maximum(counts, 1)[:, None]
    sums /= rows
    squares /= rows
    deviations = np.sqrt(np.maximum(squares - sums**2, 0))
    mean = shift + sums
    factor = np.where(varies(deviations, mean), deviations, 1).astype(np.float32)
    return Affine(mean=mean.astype(np.float32), factor=1 / factor, spread=np.empty(0))


def column_products(blocks: Iterable[np.ndarray], columns: int) -> np.ndarray:
    """(d, d) float64: Zᵀ Z of all rows, in double precision as `scaling.principal_axes`."""
    total = np.zeros((columns, columns), order="F")
    for Z in blocks:
        exact = Z.astype(np.float64)
        total = dsyrk(1.0, exact.T, beta=1.0, c=total, lower=1, overwrite_c=True)
    return np.asarray(np.tril(total) + np.tril(total, -1).T)


@dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Weighted least squares of targets (n, K) on rows (n, d): products X = B, and the weighted means.

    products: (d, d) of centred rows. targets: (d, K), products with the centred targets. centre: (d,).
    offset: (K,).
    """

    products: np.ndarray
    targets: np.ndarray
    centre: np.ndarray
    offset: np.ndarray


def normal_equations(
    blocks: Iterable[tuple[slice, np.ndarray]], targets: np.ndarray, weight: np.ndarray, *, columns: int
) -> NormalEquations:
    """In double precision, of rows (r, d) with their place among all. targets: (n, K). weight: (n,)."""
    offset = np.average(targets, axis=0, weights=weight)
    total, sums = np.zeros((columns, columns), order="F"), np.zeros(columns)
    across = np.zeros((columns, len(offset)))
    for part, Z in blocks:
        rows = Z * np.sqrt(weight[part])[:, None]
        total = dsyrk(1.0, rows.T, beta=1.0, c=total, lower=1, overwrite_c=True)
        sums += weight[part] @ Z
        across += Z.T @ (weight[part, None] * (targets[part] - offset))
    centre = sums / weight.sum()
    products = np.tril(total) + np.tril(total, -1).T - weight.sum() * np.outer(centre, centre)
    return NormalEquations(products=products, targets=across, centre=centre, offset=offset)


def _affine(mean: np.ndarray, deviations: np.ndarray, *, variance: bool) -> Affine:
    factor = varies(deviations, mean).astype(np.float64)
    if variance:
        np.divide(factor, deviations, out=factor, where=factor > 0)
    return Affine(
        mean=mean.astype(np.float32), factor=factor.astype(np.float32), spread=(deviations * factor) ** 2
    )
