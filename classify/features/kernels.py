"""What kernels are made of: inner products and squared distances that all trials of a fold share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from layerprobe.classify.features.scaling import constant_features_error

if TYPE_CHECKING:
    from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing

Pair = tuple[np.ndarray, np.ndarray]  # training and test rows (n, a) and (m, a) against the a anchors


@dataclass(frozen=True)
class Products:
    """Inner products of inputs: train (n, a) and test (m, a), and rows with themselves: own (n,), other (m,).

    All float32.
    """

    train: np.ndarray
    test: np.ndarray
    own: np.ndarray
    other: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.train.nbytes + self.test.nbytes + self.own.nbytes + self.other.nbytes

    @property
    def power(self) -> float:
        """The training rows' mean squared length, as `Shared.power`."""
        return float(self.own.mean(dtype=np.float64))


def kernel_bytes(train: int, test: int) -> int:
    """What is kept at once for whole kernels of so many training and test clips.

    Products, distances, a mix's sum and a layer's share of it in single precision, the kernel in double.
    """
    return 24 * train * (train + test)


def gram_matrix(shared: FoldFeatures, prep: Preprocessing) -> Pair:
    """float32 inner products with the anchors, divided by `power`. Of a mix, the layers' weighted sum."""
    return _kept("gram", _gram, shared, prep)


def squared_distances(shared: FoldFeatures, prep: Preprocessing) -> Pair:
    """float32 squared distances to the anchors, divided by `power`. Of a mix, the layers' weighted sum."""
    return _kept("distances", _distances, shared, prep)


def products(shared: FoldFeatures, prep: Preprocessing) -> Products:
    """Inner products of the inputs that `prep` asks for.

    Without principal components those of several statistics are the sum of each one's, which are made once;
    and those of rows at unit length come from those of the rows as they were.
    """
    if prep.pca or (prep.scaling == "l2" and shared.landmarks is not None):
        return _direct(shared, prep, shared.arrays(prep))
    if prep.scaling == "l2":
        return _unit(products(shared, replace(prep, scaling="standard")))
    first, *others = (_of_statistic(shared, part) for part in prep.each())
    total = first
    for part in others:
        total = Products(
            total.train + part.train, total.test + part.test, total.own + part.own, total.other + part.other
        )
    if not total.own.any():
        raise constant_features_error()
    return total


def _of_statistic(shared: FoldFeatures, prep: Preprocessing) -> Products:
    return shared.cached(("products", prep), lambda: _direct(shared, prep, shared.scaled(prep)))


def _direct(shared: FoldFeatures, prep: Preprocessing, inputs: Pair) -> Products:
    train, test = inputs
    own, other = (np.einsum("ij,ij->i", rows, rows) for rows in (train, test))
    exact = shared.inner(prep)
    at = shared.at_landmarks(train)
    within = train @ at.T if exact is None else exact.astype(np.float32)
    return Products(within, test @ at.T, own, other)


def _unit(found: Products) -> Products:
    """Of rows brought to length 1 and then centred on the training rows' mean; rows of zeros stay zero."""
    own, other = (np.where(lengths > 0, lengths, 1) ** -0.5 for lengths in (found.own, found.other))
    train, test = found.train * own[:, None], found.test * other[:, None]
    for part in (train, test):
        part *= own
    mean, across = train.mean(0), test.mean(1)  # the rows' products with the mean of the training rows
    whole = mean.mean()  # the mean's with itself
    train -= mean[:, None]
    test -= across[:, None]
    for part in (train, test):
        part += whole - mean
    lengths = (found.own > 0) - 2 * mean + whole, (found.other > 0) - 2 * across + whole
    return Products(train, test, *(part.astype(np.float32) for part in lengths))


def _make_room(shared: FoldFeatures) -> None:
    """For one statistic's products, a sum of them, and what is made of it."""
    anchors = len(shared.train) if shared.landmarks is None else len(shared.landmarks)
    shared.make_room(3 * 4 * anchors * (len(shared.train) + len(shared.test)))


def _gram(_shared: FoldFeatures, found: Products) -> Pair:
    factor = np.float32(1 / found.power)
    return found.train * factor, found.test * factor


def _distances(shared: FoldFeatures, found: Products) -> Pair:
    factor = np.float32(1 / found.power)
    at = shared.at_landmarks(found.own) * factor
    near, far = (np.float32(-2) * factor * part for part in (found.train, found.test))
    for lengths, out in ((found.own, near), (found.other, far)):
        out += lengths[:, None] * factor
        out += at
        np.maximum(out, 0, out=out)
    if shared.landmarks is None:
        np.fill_diagonal(near, 0)
    return near, far


def _kept(
    name: str, of: Callable[[FoldFeatures, Products], Pair], shared: FoldFeatures, prep: Preprocessing
) -> Pair:
    """What `of` makes of the products, made once for each layer; of a mix, the layers' weighted sum."""

    def make() -> Pair:
        _make_room(shared)
        return of(shared, products(shared, prep))

    if not prep.mix:
        return shared.cached((name, prep), make)
    sums: list[np.ndarray] = []
    for layer, weight in enumerate(prep.mix):
        single = _kept(name, of, shared, replace(prep, layer=layer, mix=()))
        parts = [np.float32(weight) * part for part in single]
        if not sums:
            sums = parts
            continue
        for total, part in zip(sums, parts, strict=True):
            total += part
    return sums[0], sums[1]
