"""CKA against a plain computation of the estimator, and against what its authors prove of it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from layerprobe.classify.similarity import cka
from layerprobe.classify.similarity.cka import linear_cka


def states(rows: int, *widths: int, seed: int = 0, shared: float = 1.0) -> list[np.ndarray]:
    """Layers (rows, width) that share three of their directions, with unequal scales and offsets."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, 3))
    return [
        5.0
        + 10.0**k * (shared * common @ rng.standard_normal((3, width)) + rng.standard_normal((rows, width)))
        for k, width in enumerate(widths)
    ]


def unbiased_hsic(X: np.ndarray, Y: np.ndarray) -> float:
    """Equation 5 of Song et al. (2012), word for word."""
    n = len(X)
    K, L = X @ X.T, Y @ Y.T
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    one = np.ones(n)
    sum_of_all = np.trace(K @ L) + one @ K @ one * (one @ L @ one) / ((n - 1) * (n - 2))
    return float(sum_of_all - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))


def plain_cka(X: np.ndarray, Y: np.ndarray) -> float:
    return unbiased_hsic(X, Y) / float(np.sqrt(unbiased_hsic(X, X) * unbiased_hsic(Y, Y)))


def test_the_plain_estimator_is_the_mean_over_all_quadruples_of_clips():
    """HSIC by its definition as an average over quadruples of different clips (Song et al., equation 4)."""
    X, Y = states(6, 2, 3)
    K, L = X @ X.T, Y @ Y.T
    terms = [K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in permutations(range(len(X)), 4)]
    assert unbiased_hsic(X, Y) == pytest.approx(np.mean(terms), rel=1e-9)


@pytest.mark.parametrize("block_bytes", [1, 4 * 3 * 40 * 5, cka.BLOCK_BYTES])
def test_all_pairs_and_all_left_out_groups_equal_the_plain_computation(block_bytes, monkeypatch):
    monkeypatch.setattr(cka, "BLOCK_BYTES", block_bytes)
    layers = states(40, 5, 7, 60)
    groups = np.random.default_rng(1).permutation(np.repeat(np.arange(4), (4, 8, 12, 16)))
    value, without = linear_cka(layers, groups)
    for i, first in enumerate(layers):
        for j, second in enumerate(layers):
            assert value[i, j] == pytest.approx(plain_cka(first, second), abs=1e-5)
            for group in range(4):
                left = groups != group
                assert without[group, i, j] == pytest.approx(plain_cka(first[left], second[left]), abs=1e-5)


def test_scale_rotation_and_shift_do_not_change_it():
    X, Y = states(50, 6, 8)
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 6)))[0]
    value, _ = linear_cka([X, 1000 * X @ rotation - 300, Y], np.zeros(50, np.int64))
    assert value[0, 1] == pytest.approx(1, abs=1e-5)
    assert value[0, 2] == pytest.approx(value[1, 2], abs=1e-5)
    assert np.diagonal(value) == pytest.approx(np.ones(3))
    np.testing.assert_array_equal(value, value.T)


def test_unrelated_layers_with_more_columns_than_clips_have_no_similarity():
    """The biased estimator would be above 0.8 here."""
    draws = [
        linear_cka(states(40, 400, 400, seed=seed, shared=0), np.zeros(40, np.int64))[0][0, 1]
        for seed in range(20)
    ]
    assert abs(np.mean(draws)) < 0.05


def test_a_layer_that_does_not_differ_has_no_value():
    layers = [*states(20, 4), np.full((20, 4), 7.25)]
    value, without = linear_cka(layers, np.arange(20) % 2)
    assert np.isnan(value[:, 1]).all()
    assert np.isnan(without[:, 1]).all()
    assert value[0, 0] == pytest.approx(1)


def test_progress_ends_at_one():
    shares: list[float] = []
    linear_cka(states(20, 4), np.arange(20) % 3, report=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
