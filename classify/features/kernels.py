"""Gram matrices and squared distances of one fold, shared by all trials; reusable buffers for kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from layerprobe.classify.features.scaling import constant_features_error

if TYPE_CHECKING:
    from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing

EXACT_CLIPS = 20_000  # training clips above which kernels are approximated whatever the memory
LANDMARKS = 1000

# (n, a) and (m, a): training and test rows against the a anchors (all training rows, or landmarks).
Pair = tuple[np.ndarray, np.ndarray]


class KernelBuffers(NamedTuple):
    """Memory of one fold that every trial's kernel is written into, valid until the fold's next trial.

    Reused, because pages fresh from the system cost more time than the exponentials. train: (n, a) float64,
    as libsvm requires. test: (m, a) float32.
    """

    train: np.ndarray
    test: np.ndarray


def kernel_buffers(features: FoldFeatures) -> KernelBuffers:
    """The fold's own buffers; their content is undefined."""
    n, m, a = len(features.train), len(features.test), _anchor_count(features)
    buffers: KernelBuffers = features.cached(
        ("kernel buffers",), lambda: KernelBuffers(np.empty((n, a)), np.empty((m, a), np.float32))
    )
    return buffers


class Products(NamedTuple):
    """Inner products of inputs, (n, a) and (m, a), and squared norms of the rows, (n,) and (m,); float32."""

    train: np.ndarray
    test: np.ndarray
    train_norms: np.ndarray
    test_norms: np.ndarray

    @property
    def power(self) -> float:
        """The training rows' mean squared length, as `FoldFeatures.power`."""
        return float(self.train_norms.mean(dtype=np.float64))


def kernel_bytes(train: int, test: int) -> int:
    """Bytes in memory at once for exact kernels of that many training and test clips.

    Products, distances, a mix's sum and one layer's term of it in single precision; the kernel in double.
    """
    return 24 * train * (train + test)


def exact_kernels_fit(rows: int, *, nbytes: int, memory: int) -> bool:
    """Whether kernels of `rows` training clips, `nbytes` in all, are computed exactly within `memory` bytes.

    Otherwise they are approximated from landmarks (Nyström).
    """
    return rows <= LANDMARKS or (rows <= EXACT_CLIPS and nbytes <= memory)


def nystroem_landmarks(rows: int, *, seed: int) -> np.ndarray:
    """Indices, ascending, of at most LANDMARKS rows drawn for Nyström's approximation of a kernel."""
    return np.sort(np.random.default_rng(seed).choice(rows, min(rows, LANDMARKS), replace=False))


def gram_matrix(features: FoldFeatures, prep: Preprocessing) -> Pair:
    """float32 inner products divided by the power; for a mix, the weighted sum over layers."""
    return _per_layer("gram", _gram, features, prep)


def squared_distances(features: FoldFeatures, prep: Preprocessing) -> Pair:
    """float32 squared distances divided by the power; for a mix, the weighted sum over layers."""
    return _per_layer("distances", _distances, features, prep)


def products(features: FoldFeatures, prep: Preprocessing) -> Products:
    """Inner products of the inputs.

    Without PCA, those of several statistics are the sum over statistics, each computed once; those of
    unit-length rows derive from those of the rows before normalisation.
    """
    if prep.pca or (prep.scaling == "l2" and features.landmarks is not None):
        return _direct(features, prep, features.inputs(prep))
    if prep.scaling == "l2":
        return _unit(products(features, replace(prep, scaling="standard")))
    total, *others = (_of_statistic(features, each) for each in prep.each())
    for other in others:
        total = Products(*(a + b for a, b in zip(total, other, strict=True)))
    if not total.train_norms.any():
        raise constant_features_error()
    return total


def _of_statistic(features: FoldFeatures, prep: Preprocessing) -> Products:
    return features.cached(("products", prep), lambda: _direct(features, prep, features.scaled(prep)))


def _direct(features: FoldFeatures, prep: Preprocessing, inputs: Pair) -> Products:
    train, test = inputs
    train_norms, test_norms = (np.einsum("ij,ij->i", rows, rows) for rows in (train, test))
    exact = features.inner_products(prep)
    at = features.at_landmarks(train)
    within = train @ at.T if exact is None else exact.astype(np.float32)
    return Products(within, test @ at.T, train_norms, test_norms)


def _unit(raw: Products) -> Products:
    """Products of rows scaled to unit length, then centred on the training mean; rows of zeros stay zero."""
    inverse, inverse_test = (
        np.where(norms > 0, norms, 1) ** -0.5 for norms in (raw.train_norms, raw.test_norms)
    )
    train, test = raw.train * inverse[:, None], raw.test * inverse_test[:, None]
    for rows in (train, test):
        rows *= inverse
    mean, mean_test = train.mean(0), test.mean(1)  # products of the rows with the training mean
    mean_norm = mean.mean()  # of the training mean with itself
    train -= mean[:, None]
    test -= mean_test[:, None]
    for rows in (train, test):
        rows += mean_norm - mean
    norms = (raw.train_norms > 0) - 2 * mean + mean_norm, (raw.test_norms > 0) - 2 * mean_test + mean_norm
    return Products(train, test, *(each.astype(np.float32) for each in norms))


def _anchor_count(features: FoldFeatures) -> int:
    return len(features.train) if features.landmarks is None else len(features.landmarks)


def _gram(_features: FoldFeatures, inner: Products) -> Pair:
    factor = np.float32(1 / inner.power)
    return inner.train * factor, inner.test * factor


def _distances(features: FoldFeatures, inner: Products) -> Pair:
    factor = np.float32(1 / inner.power)
    anchor_norms = features.at_landmarks(inner.train_norms) * factor
    train, test = (np.float32(-2) * factor * rows for rows in (inner.train, inner.test))
    for norms, out in ((inner.train_norms, train), (inner.test_norms, test)):
        out += norms[:, None] * factor
        out += anchor_norms
        np.maximum(out, 0, out=out)
    if features.landmarks is None:
        np.fill_diagonal(train, 0)
    return train, test


def _per_layer(
    name: str, derive: Callable[[FoldFeatures, Products], Pair], features: FoldFeatures, prep: Preprocessing
) -> Pair:
    """`derive` applied to the products, cached per layer; for a mix, the weighted sum over layers."""

    def make() -> Pair:
        # For one statistic's products, their sum over statistics, and the result.
        features.make_room(3 * 4 * _anchor_count(features) * (len(features.train) + len(features.test)))
        return derive(features, products(features, prep))

    if not prep.mix:
        return features.cached((name, prep), make)
    sums: list[np.ndarray] = []
    for layer, weight in enumerate(prep.mix):
        single = _per_layer(name, derive, features, replace(prep, layer=layer, mix=()))
        weighted = [np.float32(weight) * rows for rows in single]
        if not sums:
            sums = weighted
            continue
        for total, term in zip(sums, weighted, strict=True):
            total += term
    return sums[0], sums[1]
