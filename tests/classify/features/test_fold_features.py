from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layerprobe.classify.features.fold_features import (
    FoldFeatures,
    LayerStates,
    Preprocessing,
    nystroem_landmarks,
)
from layerprobe.classify.features.lru_cache import LruCache
from tests.studies import made_features

PREP = Preprocessing("mean+std", "standard")


def test_statistics_are_picked_by_name_in_any_order() -> None:
    X = np.arange(12, dtype=np.float32).reshape(2, 6)
    states = LayerStates(lambda: X, ("mean", "std", "max"), 2, None)
    np.testing.assert_array_equal(states.columns("std"), X[:, 2:4])
    np.testing.assert_array_equal(states.columns("mean+std"), X[:, :4])
    np.testing.assert_array_equal(states.columns("max+mean"), X[:, [4, 5, 0, 1]])
    assert np.shares_memory(states.columns("std+max"), X)


def test_the_test_rows_do_not_change_what_training_rows_become() -> None:
    shared, X, y = made_features()
    other = X.copy()
    other[shared.test] = 1000
    again = FoldFeatures(
        (LayerStates(lambda: other, ("mean", "std"), 12, None),),
        y,
        train=shared.train,
        test=shared.test,
        classes=3,
        cache=LruCache(1 << 20),
    )
    for prep in (
        PREP,
        Preprocessing("std", "l2"),
        Preprocessing("mean", "none"),
        Preprocessing("mean", "standard", 3),
    ):
        np.testing.assert_array_equal(shared.arrays(prep)[0], again.arrays(prep)[0])


@pytest.mark.parametrize("width", [10, 40])
def test_the_basis_keeps_products_and_pca_is_its_own_basis(width: int) -> None:
    shared, _, _ = made_features(rows=60, width=width)
    train, test = shared.basis(PREP)
    flat, flat_test = shared.arrays(PREP)
    assert train.shape[1] == min(len(train), 2 * width)
    np.testing.assert_allclose(test @ train.T, flat_test @ flat.T, rtol=1e-3, atol=0.02)
    assert shared.basis(replace(PREP, pca=5))[0] is shared.arrays(replace(PREP, pca=5))[0]


def test_fewer_components_are_the_first_of_more() -> None:
    shared, _, _ = made_features(width=40)
    few, more = (shared.arrays(replace(PREP, pca=size))[0] for size in (5, 9))
    np.testing.assert_allclose(few, more[:, :5], atol=1e-5)


def test_arrays_are_made_once() -> None:
    shared, _, _ = made_features()
    assert shared.arrays(PREP)[0] is shared.arrays(PREP)[0]


def test_balanced_weights_give_every_class_the_same_share() -> None:
    shared, _, _ = made_features(rows=100, classes=3)
    weight = shared.weights("balanced")
    sums = [weight[shared.y == k].sum() for k in range(3)]
    np.testing.assert_allclose(sums, len(shared.y) / 3)
    np.testing.assert_array_equal(shared.weights("none"), 1)


def test_anchors_are_places_drawn_once() -> None:
    places = nystroem_landmarks(30_000, seed=0)
    assert len(places) == len(set(places)) == 1000
    np.testing.assert_array_equal(places, nystroem_landmarks(30_000, seed=0))
    assert len(nystroem_landmarks(300, seed=0)) == 300
