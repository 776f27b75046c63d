from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics.pairwise import euclidean_distances

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates, Preprocessing
from layerprobe.classify.features.kernels import gram_matrix, kernel_bytes, squared_distances
from layerprobe.classify.features.lru_cache import LruCache
from tests.studies import made_features

PREP = Preprocessing("mean+std", "standard")


@pytest.mark.parametrize(
    "prep",
    [
        PREP,
        Preprocessing("std", "l2"),
        Preprocessing("mean+std", "l2"),
        Preprocessing("mean", "none"),
        Preprocessing("mean", "standard", 4),
    ],
)
@pytest.mark.parametrize("rows", [20, 240])  # few for the double products of rows, and too many
def test_kernels_are_products_and_distances_over_power(rows: int, prep: Preprocessing) -> None:
    shared, _, _ = made_features(rows=rows)
    assert (shared.inner(PREP) is None) == (rows == 240)
    train, test = (part.astype(np.float64) for part in shared.arrays(prep))
    power = (train**2).sum() / len(train)
    assert shared.power(prep) == pytest.approx(power, rel=1e-5)
    np.testing.assert_allclose(gram_matrix(shared, prep)[0], train @ train.T / power, atol=1e-4)
    np.testing.assert_allclose(gram_matrix(shared, prep)[1], test @ train.T / power, atol=1e-4)
    near, far = squared_distances(shared, prep)
    np.testing.assert_allclose(near, euclidean_distances(train, squared=True) / power, atol=1e-4)
    np.testing.assert_allclose(far, euclidean_distances(test, train, squared=True) / power, atol=1e-4)


def test_a_mix_is_the_weighted_sum_of_its_layers() -> None:
    shared, _, y = made_features(seed=1)
    other, _, _ = made_features(seed=2)
    mixed = FoldFeatures(
        (*shared.layers, *other.layers),
        y,
        train=shared.train,
        test=shared.test,
        classes=3,
        cache=LruCache(1 << 30),
    )
    prep = replace(PREP, mix=(0.25, 0.75))
    first, second = gram_matrix(mixed, PREP), gram_matrix(mixed, replace(PREP, layer=1))
    for _ in range(2):  # the second time from what was kept, which the sum must not have changed
        for part in (0, 1):
            np.testing.assert_allclose(
                gram_matrix(mixed, prep)[part], 0.25 * first[part] + 0.75 * second[part], atol=1e-5
            )
    np.testing.assert_array_equal(gram_matrix(mixed, PREP)[0], gram_matrix(shared, PREP)[0])
    assert np.diagonal(squared_distances(mixed, prep)[0]).max() == 0


def test_kernels_with_anchors_are_columns_of_the_whole_ones() -> None:
    shared, _, y = made_features()
    few = FoldFeatures(
        shared.layers,
        y,
        train=shared.train,
        test=shared.test,
        classes=3,
        cache=LruCache(1 << 30),
        landmarks=np.array([3, 10, 50]),
    )
    for prep in (PREP, Preprocessing("std", "l2")):
        for make in (gram_matrix, squared_distances):
            for part in (0, 1):
                whole, columns = make(shared, prep)[part], make(few, prep)[part]
                np.testing.assert_allclose(columns, whole[:, [3, 10, 50]], atol=1e-4)


def test_one_statistic_may_be_constant_but_not_all() -> None:
    usual, X, y = made_features()
    X[:, 12:] = 3

    def share(X: np.ndarray) -> FoldFeatures:
        states = LayerStates(lambda: X, ("mean", "std"), 12, None)
        return FoldFeatures(
            (states,), y, train=usual.train, test=usual.test, classes=3, cache=LruCache(1 << 30)
        )

    shared = share(X)
    for prep in (PREP, replace(PREP, scaling="l2"), replace(PREP, pca=3)):
        alone = replace(prep, stats="mean")
        for part in (0, 1):
            np.testing.assert_allclose(
                gram_matrix(shared, prep)[part], gram_matrix(shared, alone)[part], atol=1e-5
            )
    for same, prep in ((shared, Preprocessing("std", "none")), (share(np.full_like(X, 2)), PREP)):
        for make in (gram_matrix, squared_distances):
            with pytest.raises(InputError, match="same features"):
                make(same, prep)


def test_rows_of_zeros_stay_where_rows_are_brought_to_length_one() -> None:
    usual, X, y = made_features()
    mean = X[usual.train].mean(0)
    X[usual.train[:4]] = X[usual.test[:2]] = mean  # zero once centred
    X[usual.train[4:]] -= X[usual.train].mean(0) - mean
    states = LayerStates(lambda: np.round(X, 3), ("mean", "std"), 12, None)
    shared = FoldFeatures(
        (states,), y, train=usual.train, test=usual.test, classes=3, cache=LruCache(1 << 30)
    )
    for part in (
        *gram_matrix(shared, replace(PREP, scaling="l2")),
        *squared_distances(shared, replace(PREP, scaling="l2")),
    ):
        assert np.isfinite(part).all()


def test_kernels_are_counted_as_large_as_they_are() -> None:
    kept = LruCache(1 << 60)
    made, _, y = made_features(rows=900)
    shared = FoldFeatures(made.layers, y, train=made.train, test=made.test, classes=3, cache=kept)
    parts = (*gram_matrix(shared, PREP), *squared_distances(shared, PREP))
    assert sum(part.nbytes for part in parts) <= kernel_bytes(len(made.train), len(made.test))
