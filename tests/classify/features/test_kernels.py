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
    features, _, _ = made_features(rows=rows)
    assert (features.inner_products(PREP) is None) == (rows == 240)
    train, test = (part.astype(np.float64) for part in features.inputs(prep))
    power = (train**2).sum() / len(train)
    assert features.power(prep) == pytest.approx(power, rel=1e-5)
    np.testing.assert_allclose(gram_matrix(features, prep)[0], train @ train.T / power, atol=1e-4)
    np.testing.assert_allclose(gram_matrix(features, prep)[1], test @ train.T / power, atol=1e-4)
    near, far = squared_distances(features, prep)
    np.testing.assert_allclose(near, euclidean_distances(train, squared=True) / power, atol=1e-4)
    np.testing.assert_allclose(far, euclidean_distances(test, train, squared=True) / power, atol=1e-4)


def test_no_distance_is_negative() -> None:
    """Copies of clips in training and test: rounding must not make their distance less than nothing."""
    rng = np.random.default_rng(0)
    X = np.tile(rng.standard_normal((60, 24)).astype(np.float32) * 30, (2, 1))
    states = LayerStates(lambda: X, ("mean", "std"), 12, np.arange(120) % 8)
    train, test = np.arange(60), np.arange(60, 120)
    y = np.arange(120) % 3
    features = FoldFeatures((states,), y, train=train, test=test, classes=3, cache=LruCache(1 << 30))
    near, far = squared_distances(features, PREP)
    assert np.diagonal(far) == pytest.approx(0, abs=1e-5)
    assert near.min() == 0
    assert far.min() >= 0


def test_a_mix_is_the_weighted_sum_of_its_layers() -> None:
    features, _, y = made_features(seed=1)
    other, _, _ = made_features(seed=2)
    mixed = FoldFeatures(
        (*features.layers, *other.layers),
        y,
        train=features.train,
        test=features.test,
        classes=3,
        cache=LruCache(1 << 30),
    )
    prep = replace(PREP, mix=(0.25, 0.75))
    first, second = gram_matrix(mixed, PREP), gram_matrix(mixed, replace(PREP, layer=1))
    for _ in range(2):  # the second time from the cache, which the sum must not have changed
        for part in (0, 1):
            np.testing.assert_allclose(
                gram_matrix(mixed, prep)[part], 0.25 * first[part] + 0.75 * second[part], atol=1e-5
            )
    np.testing.assert_array_equal(gram_matrix(mixed, PREP)[0], gram_matrix(features, PREP)[0])
    assert np.diagonal(squared_distances(mixed, prep)[0]).max() == 0


def test_kernels_with_landmarks_are_columns_of_the_exact_ones() -> None:
    features, _, y = made_features()
    few = FoldFeatures(
        features.layers,
        y,
        train=features.train,
        test=features.test,
        classes=3,
        cache=LruCache(1 << 30),
        landmarks=np.array([3, 10, 50]),
    )
    for prep in (PREP, Preprocessing("std", "l2")):
        for make in (gram_matrix, squared_distances):
            for part in (0, 1):
                exact, columns = make(features, prep)[part], make(few, prep)[part]
                np.testing.assert_allclose(columns, exact[:, [3, 10, 50]], atol=1e-4)


def test_one_statistic_may_be_constant_but_not_all() -> None:
    usual, X, y = made_features()
    X[:, 12:] = 3

    def share(X: np.ndarray) -> FoldFeatures:
        states = LayerStates(lambda: X, ("mean", "std"), 12, None)
        return FoldFeatures(
            (states,), y, train=usual.train, test=usual.test, classes=3, cache=LruCache(1 << 30)
        )

    features = share(X)
    for prep in (PREP, replace(PREP, scaling="l2"), replace(PREP, pca=3)):
        alone = replace(prep, stats="mean")
        for part in (0, 1):
            np.testing.assert_allclose(
                gram_matrix(features, prep)[part], gram_matrix(features, alone)[part], atol=1e-5
            )
    for same, prep in ((features, Preprocessing("std", "none")), (share(np.full_like(X, 2)), PREP)):
        for make in (gram_matrix, squared_distances):
            with pytest.raises(InputError, match="same features"):
                make(same, prep)


def test_rows_of_zeros_stay_finite_when_rows_are_scaled_to_unit_length() -> None:
    usual, X, y = made_features()
    mean = X[usual.train].mean(0)
    X[usual.train[:4]] = X[usual.test[:2]] = mean  # zero once centred
    X[usual.train[4:]] -= X[usual.train].mean(0) - mean
    states = LayerStates(lambda: np.round(X, 3), ("mean", "std"), 12, None)
    features = FoldFeatures(
        (states,), y, train=usual.train, test=usual.test, classes=3, cache=LruCache(1 << 30)
    )
    for part in (
        *gram_matrix(features, replace(PREP, scaling="l2")),
        *squared_distances(features, replace(PREP, scaling="l2")),
    ):
        assert np.isfinite(part).all()


def test_kernel_bytes_bounds_the_memory_of_kernels() -> None:
    cache = LruCache(1 << 60)
    made, _, y = made_features(rows=900)
    features = FoldFeatures(made.layers, y, train=made.train, test=made.test, classes=3, cache=cache)
    parts = (*gram_matrix(features, PREP), *squared_distances(features, PREP))
    assert sum(part.nbytes for part in parts) <= kernel_bytes(len(made.train), len(made.test))
