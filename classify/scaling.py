"""Scaling and rotating features, fitted on training clips alone."""

from __future__ import annotations

from typing import get_args

import numpy as np
import scipy.linalg

from cache.errors import InputError
from classify.config import Scaling

ALL_SCALINGS: frozenset[Scaling] = frozenset(get_args(Scaling))
CONSTANT = 1e-6  # a column this much narrower than the widest holds rounding, not speech


def standardise(train: np.ndarray, test: np.ndarray, *, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both centred on the training rows' mean, and divided by their deviation if `variance`; float32.

    A column that is constant over the training rows becomes zero in both: nothing was learnt about it. Raises
    InputError where all columns are.
    """
    mean = train.mean(0, dtype=np.float64)
    train, test = (train - mean).astype(np.float32), (test - mean).astype(np.float32)
    scale = deviation(train)
    if not scale.any():
        raise InputError(
            "every training clip has the same features", do="nothing can be learnt from these states"
        )
    factor = (scale > CONSTANT * scale.max()).astype(np.float32)
    if variance:
        np.divide(factor, scale, out=factor, where=factor > 0)
    return train * factor, test * factor


def deviation(centred: np.ndarray) -> np.ndarray:
    """(D,) float32 root mean squares of columns."""
    mean_square = np.einsum("ij,ij->j", centred, centred, dtype=np.float64) / len(centred)
    return np.sqrt(mean_square).astype(np.float32)


def unit(X: np.ndarray) -> np.ndarray:
    """Rows brought to length 1; rows of zeros stay."""
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(length > 0, length, 1)


def by_speaker(X: np.ndarray, speakers: np.ndarray | None) -> np.ndarray:
    """(N, D) each speaker's rows at zero mean and unit variance. Raises InputError without speakers."""
    if speakers is None:
        raise InputError("the table names no speakers to scale by", do="leave 'speaker' out of the scalings")
    out = np.empty_like(X)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        centred = X[rows] - X[rows].mean(0, dtype=np.float64)
        scale = deviation(centred)
        out[rows] = centred / np.where(scale > CONSTANT * scale.max(initial=0), scale, 1)
    return out


def principal_axes(train: np.ndarray) -> np.ndarray:
    """(D, r) float32: all principal axes of centred rows with any variance, the largest variance first.

    From the smaller of the two inner products, in double precision, so that weak axes stay orthogonal. Each
    axis's largest loading is positive, as in scikit-learn's PCA.
    """
    n, width = train.shape
    exact = train.astype(np.float64)
    wide = width > n
    values, vectors = scipy.linalg.eigh(
        exact @ exact.T if wide else exact.T @ exact, driver="evd", check_finite=False, overwrite_a=True
    )
    known = values > values[-1] * 1e-10
    values, vectors = values[known][::-1], vectors[:, known][:, ::-1]
    if wide:
        vectors = (exact.T @ vectors) / np.sqrt(values)
    largest = vectors[np.abs(vectors).argmax(0), np.arange(len(values))]
    return (vectors * np.where(largest < 0, -1, 1)).astype(np.float32)
