from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from layerprobe.classify.features.scaling import scale, scale_by_speaker
from layerprobe.classify.features.streamed.moments import (
    column_products,
    fit_columns,
    fit_speakers,
    normal_equations,
)


def made(rows: int = 101) -> np.ndarray:
    """Columns of very different means and deviations; the last is constant."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 6)) * [1, 1e-3, 100, 1, 1, 0] + [0, 1, 1e4, -3, 1e-6, 7]
    return np.asarray(X, np.float32)


@pytest.mark.parametrize("variance", [True, False])
@pytest.mark.parametrize("size", [1, 7, 200])
def test_columns_are_scaled_as_in_memory_whatever_the_blocks(variance: bool, size: int) -> None:
    X = made()
    expected, _ = scale(X, X[:0], variance=variance)
    affine = fit_columns(np.array_split(X, range(size, len(X), size)), variance=variance)
    scaled = affine.apply(X)
    spread = np.abs(expected).max(0).clip(1e-30)
    np.testing.assert_allclose(scaled / spread, expected / spread, atol=2e-4)
    assert not scaled[:, 5].any()
    np.testing.assert_allclose(affine.spread, np.square(expected, dtype=np.float64).mean(0), rtol=1e-3)


def test_means_far_above_deviations_lose_nothing() -> None:
    X = made()
    affine = fit_columns([X], variance=True)
    exact = X.astype(np.float64)
    np.testing.assert_allclose(affine.mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(affine.factor[:5], 1 / exact[:, :5].std(0), rtol=1e-5)


def test_rows_are_scaled_by_speaker_as_in_memory() -> None:
    X, speakers = made(), np.random.default_rng(1).integers(0, 5, 101)
    speakers[speakers == 3] = 4  # a number without clips
    cuts = [10, 20, 70]
    blocks = zip(np.array_split(X, cuts), np.array_split(speakers, cuts), strict=True)
    affine = fit_speakers(blocks, speakers=5)
    expected = scale_by_speaker(X, speakers)
    np.testing.assert_allclose(affine.apply_by(X, speakers)[:, :5], expected[:, :5], atol=2e-3)


def test_products_are_those_of_all_rows() -> None:
    X = made()
    found = column_products(np.array_split(X, 4), 6)
    exact = X.astype(np.float64)
    np.testing.assert_allclose(found, exact.T @ exact, rtol=1e-12)


def test_normal_equations_are_those_of_weighted_least_squares() -> None:
    X, rng = made()[:, :3], np.random.default_rng(2)
    targets, weight = rng.standard_normal((101, 2)), rng.uniform(0.5, 2, 101)
    cuts = [0, 10, 55, 101]
    parts = [slice(begin, end) for begin, end in pairwise(cuts)]
    found = normal_equations([(part, X[part]) for part in parts], targets, weight, columns=3)
    W = np.linalg.solve(found.products, found.targets)
    design = np.column_stack([X, np.ones(101)]) * np.sqrt(weight)[:, None]
    expected = np.linalg.lstsq(design, targets * np.sqrt(weight)[:, None], rcond=None)[0]
    np.testing.assert_allclose(W, expected[:-1], rtol=1e-4)
    np.testing.assert_allclose(found.offset - found.centre @ W, expected[-1], rtol=1e-4)


def test_no_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="no rows"):
        fit_columns([], variance=True)
    with pytest.raises(ValueError, match="no rows"):
        fit_speakers([], speakers=1)
