from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fold_features import (
    FoldFeatures,
    LayerStates,
    Preprocessing,
)
from layerprobe.classify.features.kernels import nystroem_landmarks
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
    features, X, y = made_features()
    other = X.copy()
    other[features.test] = 1000
    again = FoldFeatures(
        (LayerStates(lambda: other, ("mean", "std"), 12, None),),
        y,
        train=features.train,
        test=features.test,
        classes=3,
        cache=LruCache(1 << 20),
    )
    for prep in (
        PREP,
        Preprocessing("std", "l2"),
        Preprocessing("mean", "none"),
        Preprocessing("mean", "standard", 3),
    ):
        np.testing.assert_array_equal(features.inputs(prep)[0], again.inputs(prep)[0])


@pytest.mark.parametrize("width", [10, 40])
def test_the_basis_keeps_products_and_pca_is_its_own_basis(width: int) -> None:
    features, _, _ = made_features(rows=60, width=width)
    train, test = features.basis(PREP)
    flat, flat_test = features.inputs(PREP)
    assert train.shape[1] == min(len(train), 2 * width)
    np.testing.assert_allclose(test @ train.T, flat_test @ flat.T, rtol=1e-3, atol=0.02)
    assert features.basis(replace(PREP, pca=5))[0] is features.inputs(replace(PREP, pca=5))[0]


@pytest.mark.parametrize("scaling", ["standard", "l2", "none"])
def test_inner_products_are_those_of_the_inputs(scaling: Scaling) -> None:
    features, _, _ = made_features(rows=60, width=40)
    prep = replace(PREP, scaling=scaling)
    train = features.inputs(prep)[0].astype(np.float64)
    inner = features.inner_products(prep)
    assert inner is not None
    np.testing.assert_allclose(inner, train @ train.T, atol=1e-5 * np.abs(train @ train.T).max())


@pytest.mark.parametrize("width", [10, 40])
def test_narrow_inputs_keep_products_in_no_more_columns_than_rows(width: int) -> None:
    features, _, _ = made_features(rows=60, width=width)
    train, test = features.narrow_inputs(PREP)
    flat, flat_test = features.inputs(PREP)
    assert train.shape == (40, min(40, 2 * width))
    np.testing.assert_allclose(train @ train.T, flat @ flat.T, rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(test @ train.T, flat_test @ flat.T, rtol=1e-3, atol=0.02)


def test_fewer_components_are_the_first_of_more() -> None:
    features, _, _ = made_features(width=40)
    few, more = (features.inputs(replace(PREP, pca=size))[0] for size in (5, 9))
    np.testing.assert_allclose(few, more[:, :5], atol=1e-5)


def test_inputs_are_computed_once() -> None:
    features, _, _ = made_features()
    assert features.inputs(PREP)[0] is features.inputs(PREP)[0]


def test_balanced_weights_give_every_class_the_same_share() -> None:
    features, _, _ = made_features(rows=100, classes=3)
    weight = features.weights("balanced")
    sums = [weight[features.y == k].sum() for k in range(3)]
    np.testing.assert_allclose(sums, len(features.y) / 3)
    np.testing.assert_array_equal(features.weights("none"), 1)


def test_landmarks_are_deterministic_and_distinct() -> None:
    landmarks = nystroem_landmarks(30_000, seed=0)
    assert len(landmarks) == len(set(landmarks)) == 1000
    np.testing.assert_array_equal(landmarks, nystroem_landmarks(30_000, seed=0))
    assert len(nystroem_landmarks(300, seed=0)) == 300
