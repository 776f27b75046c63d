"""Scaling, PCA and orthogonal bases, all fitted on training clips only."""

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
CONSTANT = 1e-6  # of a column's mean: one that varies less holds rounding errors
LANCZOS_RATIO = 8  # rows per axis from which Lanczos' method is used
NULL = 1e-10  # of the largest variance: less is rounding error in double precision


def standardise(train: np.ndarray, test: np.ndarray, *, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """As `scale`. Raises SameFeaturesError where all columns are constant."""
    scaled, scaled_test = scale(train, test, variance=variance)
    if not scaled.any():
        raise constant_features_error()
    return scaled, scaled_test


class SameFeaturesError(InputError):
    """All training clips have equal features."""


def constant_features_error() -> SameFeaturesError:
    """The error for training clips that are all equal."""
    return SameFeaturesError(
        "every training clip has the same features", do="nothing can be learnt from these states"
    )


def scale(train: np.ndarray, test: np.ndarray, *, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) and (m, D) float32, centred on the training mean; if `variance`, divided by the deviation.

    A column that is constant over the training rows becomes zero in both.
    """
    means = np.zeros(train.shape[1], np.float32)
    for _ in range(2):  # one pass in float32 leaves a remainder where the mean far exceeds the deviation
        mean = train.mean(0, dtype=np.float64).astype(np.float32)
        train, test = train - mean, test - mean
        means += mean
    deviations = column_deviations(train)
    factor = varies(deviations, means).astype(np.float32)
    if variance:
        np.divide(factor, deviations, out=factor, where=factor > 0)
    return train * factor, test * factor


def varies(deviations: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(D,) bool: which columns vary by more than the rounding errors of their own values.

    Each column is judged by itself: those of a feature set have different units, such as hertz and decibels.
    """
    return deviations > CONSTANT * np.abs(means)


def column_deviations(centred: np.ndarray) -> np.ndarray:
    """(D,) float32 root mean squares of columns."""
    return np.sqrt(np.square(centred).mean(0, dtype=np.float64)).astype(np.float32)


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of zeros stay zero."""
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(length > 0, length, 1)


def unit_products(inner: np.ndarray) -> np.ndarray:
    """Inner products (n, n) of rows → those of the rows at length 1, centred; rows of zeros stay zero."""
    length = np.sqrt(inner.diagonal())
    inverse = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    unit: np.ndarray = inner * inverse[:, None] * inverse
    mean = unit.mean(0)
    return unit - mean - mean[:, None] + mean.mean()


def scale_by_speaker(X: np.ndarray, speakers: np.ndarray | None) -> np.ndarray:
    """(N, D): zero mean and unit variance over each speaker's rows. Raises InputError without speakers."""
    speakers = speakers_to_scale_by(speakers, len(X))
    out = np.empty_like(X)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        means = X[rows].mean(0, dtype=np.float64)
        centred = X[rows] - means
        scale = column_deviations(centred)
        out[rows] = centred / np.where(varies(scale, means), scale, 1)
    return out


def speakers_to_scale_by(speakers: np.ndarray | None, rows: int) -> np.ndarray:
    """The speakers (rows,). Raises InputError without any, or if each has a single clip."""
    if speakers is None:
        raise InputError("the table names no speakers to scale by", do="leave 'speaker' out of the scalings")
    if len(np.unique(speakers)) == rows:
        raise InputError(
            "every speaker has a single clip: scaled by speaker, nothing is left",
            do="leave 'speaker' out of the scalings",
        )
    return speakers


def is_wide(X: np.ndarray) -> bool:
    """Whether there are more columns than rows."""
    return X.shape[1] > len(X)


def principal_axes(train: np.ndarray, count: int, *, inner: np.ndarray | None = None) -> np.ndarray:
    """(D, min(count, n - 1, D)) float64: the principal axes of centred rows, by falling variance.

    inner: (n, n) float64 inner products of wide rows, if already computed. In double precision, because axes
    of similar variance mix easily, and trees split on single components. Each axis's largest loading is
    positive, as in scikit-learn's PCA.
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
    return _largest_positive(vectors)


def axes_of_products(products: np.ndarray, count: int) -> np.ndarray:
    """As `principal_axes`, from the products (D, D) of the columns of centred rows."""
    return _largest_positive(leading_eigenvectors(products, count)[1])


def _largest_positive(axes: np.ndarray) -> np.ndarray:
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    return np.asarray(axes * np.where(largest < 0, -1, 1))


def leading_eigenvectors(inner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest eigenvalues of a symmetric matrix, falling, and their eigenvectors in columns.

    A small share of them by Lanczos' method, in half the time; its starting vector is fixed.
    """
    size = len(inner)
    if LANCZOS_RATIO * count < size:
        start = np.random.default_rng(0).standard_normal(size)
        with suppress(ArpackError):  # no convergence, for example with rank < count
            product = partial(dsymv, 1.0, inner.T)  # reads one triangle only
            values, vectors = eigsh(
                LinearOperator(inner.shape, product, dtype=inner.dtype), k=count, v0=start
            )
            return values[::-1], vectors[:, ::-1]
    values, vectors = scipy.linalg.eigh(inner, subset_by_index=(size - count, size - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def orthogonal_columns(
    train: np.ndarray, test: np.ndarray, *, inner: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, r) and (m, r) float32, r = min(n, D): centred rows rotated so that training columns are orthogonal.

    inner: (n, n) float64 inner products of wide training rows, if already computed. Inner products with
    training rows are preserved; the largest column comes first. Single precision suffices: the rotation is
    orthogonal however accurate its axes are.
    """
    if is_wide(train):
        train, test = compress_columns(train, test, inner)
    _, axes = scipy.linalg.eigh(train.T @ train, driver="evd", check_finite=False, overwrite_a=True)
    axes = np.ascontiguousarray(axes[:, ::-1])
    return train @ axes, test @ axes


def compress_columns(
    train: np.ndarray, test: np.ndarray, inner: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, n) and (m, n): rows with the same inner products with training rows, in n columns.

    With L Lᵀ the training rows' inner products, these are L, and L⁻¹ k for products k with the training rows.
    """
    exact = train.astype(np.float64)
    products = exact @ exact.T if inner is None else inner.copy()
    products.flat[:: len(train) + 1] += NULL * np.trace(products)
    L = scipy.linalg.cholesky(products, lower=True, check_finite=False, overwrite_a=True)
    across = exact @ test.T.astype(np.float64)
    rotated = scipy.linalg.solve_triangular(L, across, lower=True, check_finite=False, overwrite_b=True)
    return L.astype(np.float32), np.ascontiguousarray(rotated.T, np.float32)
