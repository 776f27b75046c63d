from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.fitted import FittedScaling
from layerprobe.classify.features.scaling import (
    orthogonal_columns,
    principal_axes,
    scale_by_speaker,
    standardise,
    unit_products,
    unit_rows,
)


def rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, width)) @ rng.standard_normal((width, width))
    return (X * np.exp(rng.uniform(-3, 3, width)) + 5).astype(np.float32)


@given(n=st.integers(3, 40), width=st.integers(1, 30), seed=st.integers(0, 20))
def test_standardise_is_fitted_on_training_rows_alone(n: int, width: int, seed: int) -> None:
    train, test = rows(n, width, seed), rows(7, width, seed + 1)
    scaler = StandardScaler().fit(train.astype(np.float64))
    ours, others = standardise(train, test, variance=True)
    np.testing.assert_allclose(ours, scaler.transform(train.astype(np.float64)), atol=2e-4)
    np.testing.assert_allclose(others, scaler.transform(test.astype(np.float64)), rtol=2e-3, atol=2e-3)
    assert ours.dtype == others.dtype == np.float32


def test_constant_columns_are_dropped_and_all_constant_is_refused() -> None:
    train = rows(20, 3)
    train[:, 1] = 0.1 + 3
    ours, others = standardise(train, train + 1, variance=True)
    assert not ours[:, 1].any()
    assert not others[:, 1].any()
    assert others[:, [0, 2]].all()
    with pytest.raises(InputError, match="same features"):
        standardise(np.full((5, 2), 3.0), rows(4, 2), variance=True)


def test_a_column_of_a_large_unit_does_not_make_the_others_constant() -> None:
    """Feature sets have columns in hertz, decibels and squares of both: each is judged by itself."""
    units = np.array([1e12, 1e6, 1, 1e-6], np.float32)
    train, test = rows(30, 4) * units, rows(9, 4, seed=1) * units
    scaler = StandardScaler().fit(train.astype(np.float64))
    ours, others = standardise(train, test, variance=True)
    np.testing.assert_allclose(ours, scaler.transform(train.astype(np.float64)), atol=2e-4)
    np.testing.assert_allclose(others, scaler.transform(test.astype(np.float64)), rtol=2e-3, atol=2e-3)
    fitted = FittedScaling.fit(train, variance=True)
    np.testing.assert_allclose(fitted.apply(test), others, rtol=1e-4, atol=1e-4)
    speakers = np.repeat(["a", "b"], 15)
    by_speaker = scale_by_speaker(train, speakers)
    np.testing.assert_allclose(by_speaker[:15].std(0), 1, atol=1e-3)


@pytest.mark.parametrize(("n", "width"), [(60, 20), (20, 60), (30, 30)])
def test_principal_axes_are_scikit_learns_with_their_signs(n: int, width: int) -> None:
    train, _ = standardise(rows(n, width), rows(3, width), variance=True)
    axes = principal_axes(train, 10)
    expected = PCA(10, svd_solver="full").fit(train.astype(np.float64))
    np.testing.assert_allclose(axes, expected.components_.T, atol=1e-5)
    assert principal_axes(train, 1000).shape == (width, min(width, n - 1))


def test_repeated_columns_have_axes_of_no_variance() -> None:
    for n in (50, 6):
        train = np.hstack([rows(n, 4), rows(n, 4)])
        train -= train.mean(0)
        axes = principal_axes(train, 7)
        assert np.isfinite(axes).all()
        np.testing.assert_allclose((train @ axes)[:, 4:], 0, atol=1e-2 * np.abs(train).max())


@given(n=st.integers(3, 40), width=st.integers(1, 60), seed=st.integers(0, 20))
def test_orthogonal_columns_keep_products_and_sort_by_size(n: int, width: int, seed: int) -> None:
    train, test = standardise(rows(n, width, seed), rows(9, width, seed + 1), variance=True)
    turned, other = orthogonal_columns(train, test)
    assert turned.shape == (n, min(n, width))
    size = np.abs(train @ train.T).max()
    np.testing.assert_allclose(turned @ turned.T, train @ train.T, atol=1e-4 * size)
    np.testing.assert_allclose(
        other @ turned.T, test @ train.T, atol=1e-3 * max(size, np.abs(test @ train.T).max())
    )
    lengths = np.linalg.norm(turned, axis=0)
    assert np.all(np.diff(lengths) <= 1e-3 * lengths[0])
    products = turned.T @ turned
    np.testing.assert_allclose(products, np.diag(np.diagonal(products)), atol=1e-4 * size)


def test_unit_rows_and_rows_of_zeros() -> None:
    X = np.vstack([rows(5, 3), np.zeros((1, 3), np.float32)])
    lengths = np.linalg.norm(unit_rows(X), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 1, 0], rtol=1e-6)


def test_products_at_length_one_derive_from_products() -> None:
    X = np.vstack([rows(30, 50) - 5, np.zeros((1, 50), np.float32)]).astype(np.float64)
    unit = unit_rows(X)
    unit -= unit.mean(0)
    np.testing.assert_allclose(unit_products(X @ X.T), unit @ unit.T, atol=1e-12)


def test_by_speaker_takes_each_speakers_own_mean_and_deviation() -> None:
    X, speakers = rows(30, 4), np.arange(30) % 3
    scaled = scale_by_speaker(X + 10 * speakers[:, None], speakers)
    for speaker in range(3):
        np.testing.assert_allclose(scaled[speakers == speaker].mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(scaled[speakers == speaker].std(0), 1, rtol=1e-3)
    assert np.isfinite(scale_by_speaker(X[:3], np.array([0, 0, 1]))).all()  # a speaker with one clip
    with pytest.raises(InputError, match="every speaker has a single clip"):
        scale_by_speaker(X, np.arange(30))
    with pytest.raises(InputError, match="no speakers"):
        scale_by_speaker(X, None)
