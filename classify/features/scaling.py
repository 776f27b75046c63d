"""Scaling and rotating features, fitted on training clips alone."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import get_args

import numpy as np
import scipy.linalg
from scipy.linalg.blas import dsymv
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import Scaling

ALL_SCALINGS: frozenset[Scaling] = frozenset(get_args(Scaling))
CONSTANT = 1e-6  # a column this much narrower than the widest holds rounding, not speech
FEW = 8  # times fewer axes than rows: what Lanczos' method is for
NULL = 1e-10  # a variance this much smaller than the largest is rounding in double precision


def standardise(train: np.ndarray, test: np.ndarray, *, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """As `scale`. Raises InputError where all columns are constant."""
    ours, others = scale(train, test, variance=variance)
    if not ours.any():
        raise constant_features_error()
    return ours, others


class SameFeaturesError(InputError):
    """No training clip differs from another."""


def constant_features_error() -> SameFeaturesError:
    told = "every training clip has the same features"
    return SameFeaturesError(told, do="nothing can be learnt from these states")


def scale(train: np.ndarray, test: np.ndarray, *, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both centred on the training rows' mean, and divided by their deviation if `variance`; float32.

    A column that is constant over the training rows becomes zero in both: nothing was learnt about it.
    """
    for _ in range(2):  # the mean of float32 rows leaves a rest where it is far larger than the deviation
        mean = train.mean(0, dtype=np.float64).astype(np.float32)
        train, test = train - mean, test - mean
    deviations = column_deviations(train)
    factor = (deviations > CONSTANT * deviations.max()).astype(np.float32)
    if variance:
        np.divide(factor, deviations, out=factor, where=factor > 0)
    return train * factor, test * factor


def column_deviations(centred: np.ndarray) -> np.ndarray:
    """(D,) float32 root mean squares of columns."""
    return np.sqrt(np.square(centred).mean(0, dtype=np.float64)).astype(np.float32)


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Rows brought to length 1; rows of zeros stay."""
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(length > 0, length, 1)


def scale_by_speaker(X: np.ndarray, speakers: np.ndarray | None) -> np.ndarray:
    """(N, D) each speaker's rows at zero mean and unit variance. Raises InputError without speakers."""
    if speakers is None:
        raise InputError("the table names no speakers to scale by", do="leave 'speaker' out of the scalings")
    if len(np.unique(speakers)) == len(X):
        told = "every speaker has a single clip: scaled by speaker, nothing is left"
        raise InputError(told, do="leave 'speaker' out of the scalings")
    out = np.empty_like(X)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        centred = X[rows] - X[rows].mean(0, dtype=np.float64)
        scale = column_deviations(centred)
        out[rows] = centred / np.where(scale > CONSTANT * scale.max(initial=0), scale, 1)
    return out


def is_wide(X: np.ndarray) -> bool:
    """Whether products of rows are fewer than products of columns."""
    return X.shape[1] > len(X)


def principal_axes(train: np.ndarray, count: int, *, inner: np.ndarray | None = None) -> np.ndarray:
    """(D, min(count, n - 1, D)) float64: the principal axes of centred rows, the largest variance first.

    inner: (n, n) float64 products of wide rows, if they are there already. In double precision, since trees
    see single columns and neighbouring axes mix easily. Each axis's largest loading is positive, as in
    scikit-learn's PCA.
    """
    n, width = train.shape
    exact = train.astype(np.float64)
    count = min(count, n - 1, width)
    if not is_wide(train):
        inner = exact.T @ exact
    elif inner is None:
        inner = exact @ exact.T
    values, vectors = leading_eigenvectors(inner, count)
    if is_wide(train):
        vectors = (exact.T @ vectors) / np.sqrt(np.maximum(values, NULL * values[0]))
    largest = vectors[np.abs(vectors).argmax(0), np.arange(count)]
    return np.asarray(vectors * np.where(largest < 0, -1, 1))


def leading_eigenvectors(inner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest eigenvalues (falling) of a symmetric matrix, and their vectors in columns.

    Few of many by Lanczos' method, which takes half the time; its start is drawn once and for all.
    """
    size = len(inner)
    if FEW * count < size:
        start = np.random.default_rng(0).standard_normal(size)
        with suppress(ArpackError):  # it did not converge: rank below count, say
            half = partial(dsymv, 1.0, inner.T)  # reads one triangle, half of what a product reads
            values, vectors = eigsh(LinearOperator(inner.shape, half, dtype=inner.dtype), k=count, v0=start)
            return values[::-1], vectors[:, ::-1]
    values, vectors = scipy.linalg.eigh(inner, subset_by_index=(size - count, size - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def orthogonal_columns(
    train: np.ndarray, test: np.ndarray, *, inner: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, r) and (m, r) float32, r = min(n, D): centred rows turned so that training columns are orthogonal.

    inner: (n, n) float64 products of wide training rows, if they are there already. Inner products with
    training rows stay as they were; the largest column comes first. Single precision is enough to turn by:
    the turn is orthogonal however well it finds the axes.
    """
    if is_wide(train):
        train, test = _folded(train, test, inner)
    _, axes = scipy.linalg.eigh(train.T @ train, driver="evd", check_finite=False, overwrite_a=True)
    axes = np.ascontiguousarray(axes[:, ::-1])
    return train @ axes, test @ axes


def _folded(train: np.ndarray, test: np.ndarray, inner: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(n, n) and (m, n): rows with the same inner products with training rows, in fewer columns.

    With L Lᵀ the training rows' products these are L and, for products k with the training rows, L⁻¹ k.
    """
    exact = train.astype(np.float64)
    products = exact @ exact.T if inner is None else inner.copy()
    products.flat[:: len(train) + 1] += NULL * np.trace(products)
    L = scipy.linalg.cholesky(products, lower=True, check_finite=False, overwrite_a=True)
    across = exact @ test.T.astype(np.float64)
    turned = scipy.linalg.solve_triangular(L, across, lower=True, check_finite=False, overwrite_b=True)
    return L.astype(np.float32), np.ascontiguousarray(turned.T, np.float32)
