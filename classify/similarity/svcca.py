"""SVCCA between many layers (Raghu et al. 2017, "SVCCA: singular vector canonical correlation analysis").

A layer is reduced to the principal axes that have 99 % of its variance; the similarity of two layers is the
mean of the canonical correlations between their reduced states. With few clips for each axis it is close to 1
for unrelated layers too: read it next to CKA, and compare layers on the same clips only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

VARIANCE = 0.99  # share that the principal axes of a layer keep


def svcca(
    layers: Sequence[np.ndarray], groups: np.ndarray, *, report: Callable[[float], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(L, L) SVCCA of all pairs of layers on all clips, and (G, L, L) without the clips of each group.

    layers: (N, D) each. groups: (N,) from 0 to G - 1. report: called with the share that is done. NaN for
    layers whose states do not differ between clips.
    """
    count = int(groups.max()) + 1
    without = np.full((count, len(layers), len(layers)), np.nan)
    for group in range(count if count > 1 else 0):
        left = groups != group
        without[group] = _svcca([layer[left] for layer in layers])
        if report is not None:
            report((group + 1) / (count + 1))
    value = _svcca(layers)
    if report is not None:
        report(1.0)
    return value, without


def _svcca(layers: Sequence[np.ndarray]) -> np.ndarray:
    bases = [principal_directions(layer) for layer in layers]
    values = np.full((len(layers), len(layers)), np.nan)
    for i, first in enumerate(bases):
        for j, second in enumerate(bases[: i + 1]):
            least = min(first.shape[1], second.shape[1])
            if least:
                correlations = np.linalg.svd(first.T @ second, compute_uv=False)
                values[i, j] = values[j, i] = min(1.0, float(correlations.sum()) / least)
    return values


def principal_directions(X: np.ndarray) -> np.ndarray:
    """(N, k) orthonormal: the centred rows of X (N, D) along the k axes with VARIANCE of their variance.

    k is 0 where the rows do not differ.
    """
    centred = X - X.mean(0, dtype=np.float64)
    wide = centred.shape[1] > len(centred)
    powers, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    powers, vectors = np.maximum(powers[::-1], 0), vectors[:, ::-1]
    if powers[0] <= 1e-12 * np.square(X, dtype=np.float64).sum():
        return np.empty((len(X), 0))
    count = int(np.searchsorted(np.cumsum(powers), VARIANCE * powers.sum())) + 1
    if wide:
        return vectors[:, :count]
    return np.asarray(centred @ vectors[:, :count] / np.sqrt(powers[:count]))
