"""Linear centred kernel alignment (CKA) of many layers at once, also without each group of clips in turn.

CKA (Kornblith et al. 2019, "Similarity of neural network representations revisited") of two layers is
HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), where K and L have the inner products of all pairs of clips. Here
HSIC is the unbiased estimator of Song et al. (2012, "Feature selection via dependence maximization",
equation 5), as in Nguyen et al. (2021, "Do wide and deep networks learn the same things?"): the biased one
rises to 1 as the columns of a layer outnumber the clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_CLIPS = 4  # the estimator divides by n - 3
BLOCK_BYTES = 256 << 20  # inner products in memory at once
EPSILON = 1e-12  # HSIC of a layer with itself below which its states do not differ


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums over pairs of clips for L layers, without each of G groups and, last, of all clips.

    pairs: (G + 1, L, L) Σ_ij K_ij L_ij. rows: (G + 1, L, L) Σ_i (Σ_j K_ij)(Σ_j L_ij). total: (G + 1, L)
    Σ_ij K_ij. clips: (G + 1,). The diagonals of K and L count as 0.
    """

    pairs: np.ndarray
    rows: np.ndarray
    total: np.ndarray
    clips: np.ndarray


def linear_cka(
    layers: Sequence[np.ndarray], groups: np.ndarray, *, report: Callable[[float], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(L, L) CKA of all pairs of layers on all clips, and (G, L, L) without the clips of each group.

    layers: (N, D) each, D may differ. groups: (N,) from 0 to G - 1. report: called with the share that is
    done. NaN for layers whose states do not differ between clips, and where fewer than LEAST_CLIPS are left.
    Needs BLOCK_BYTES of memory besides the states; time grows with N².
    """
    sums = _sum_pairs([_unit_power(layer) for layer in layers], groups, report)
    n = sums.clips[:, None, None].astype(np.float64)
    products = sums.total[:, :, None] * sums.total[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        hsic = sums.pairs + products / ((n - 1) * (n - 2)) - 2 / (n - 2) * sums.rows
        own = np.diagonal(hsic, axis1=1, axis2=2)
        own = np.where(own > EPSILON * n[:, :, 0] ** 2, own, np.nan)
        cka = hsic / np.sqrt(own[:, :, None] * own[:, None, :])
    cka = np.where(n >= LEAST_CLIPS, cka, np.nan)
    return cka[-1], cka[:-1]


def _unit_power(X: np.ndarray) -> np.ndarray:
    """X (N, D) centred and divided by its root mean squared length: neither changes CKA; float32 suffices."""
    centred = X - X.mean(0, dtype=np.float64)
    power = np.square(centred).sum() / len(X)
    scale = 0.0 if power <= EPSILON * np.square(X, dtype=np.float64).sum() / len(X) else 1 / np.sqrt(power)
    return np.asarray(centred * scale, np.float32)


def _sum_pairs(
    layers: Sequence[np.ndarray], groups: np.ndarray, report: Callable[[float], None] | None
) -> _Sums:
    """The sums for all layers, a block of rows of the (N, N) products at a time.

    Clips are sorted by group, and a block has rows of one group only. Leaving out group g leaves out its rows
    and its columns: of a sum over pairs, twice the rows of g, but the pairs within g once.
    """
    order = np.argsort(groups, kind="stable")
    layers = [np.ascontiguousarray(layer[order]) for layer in layers]
    sizes = np.bincount(groups)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    count, clips, G = len(layers), len(groups), len(sizes)
    step = max(1, BLOCK_BYTES // (4 * count * clips))
    sums = [np.add.reduceat(layer, starts[:-1], dtype=np.float64).astype(np.float32) for layer in layers]
    rows_of, within = np.zeros((2, G, count, count))
    rows, total = np.zeros((G + 1, count, count)), np.zeros((G + 1, count))
    for g in range(G):
        for begin in range(starts[g], starts[g + 1], step):
            block = slice(begin, min(begin + step, starts[g + 1]))
            K = np.stack([layer[block] @ layer.T for layer in layers])
            here = np.arange(block.start, block.stop)
            K[:, here - block.start, here] = 0
            rows_of[g] += _products(K)
            within[g] += _products(K[:, :, starts[g] : starts[g + 1]])
            by_group = np.stack([layer[block] @ sum_of.T for layer, sum_of in zip(layers, sums, strict=True)])
            by_group[:, :, g] -= np.stack([np.square(layer[block]).sum(1) for layer in layers])
            by_group = by_group.astype(np.float64)  # (L, b, G) sums of K over the columns of each group
            all_columns = by_group.sum(2, keepdims=True)
            left = np.concatenate([all_columns - by_group, all_columns], axis=2)
            left[:, :, g] = 0  # without its own group, none of these rows is left
            left = left.transpose(2, 0, 1)
            rows += left @ left.transpose(0, 2, 1)
            total += left.sum(2)
            if report is not None:
                report(block.stop / clips)
    pairs = np.concatenate([rows_of.sum(0) - 2 * rows_of + within, rows_of.sum(0)[None]])
    return _Sums(pairs=pairs, rows=rows, total=total, clips=np.append(clips - sizes, clips))


def _products(K: np.ndarray) -> np.ndarray:
    """(L, L) sums of the elementwise products of all pairs of K (L, b, n)."""
    flat = K.reshape(len(K), -1)
    return np.asarray(flat @ flat.T, np.float64)
