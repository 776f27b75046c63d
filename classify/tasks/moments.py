"""Scores of predicted numbers, from sums that add up over clips.

The sums, (…, 13), in this order: clips; the truth y, the prediction p, y², p², y p; (p - y)², |p - y|; the
ranks r of the truth and s of the prediction, r², s², r s. y and p are shifted by the mean of y, which changes
no score and avoids rounding errors. Ranks are those among all clips that are scored together: resampling
speakers does not rank again.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import rankdata

from layerprobe.classify.tasks.task import ratio, sums_by_cluster

CLIPS, TRUE, PREDICTED, SQUARED, ABSOLUTE = 0, 1, 2, 6, 7  # places of some
LOSSES: dict[Literal["rmse", "mae"], int] = {"rmse": SQUARED, "mae": ABSOLUTE}


def sums(y: np.ndarray, predicted: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """(13,) of all N clips, or (clusters, 13) of each cluster. clusters: (N,) numbers of any kind."""
    true, guess = (np.asarray(values, np.float64) - np.mean(y) for values in (y, predicted))
    error = guess - true
    r, s = ((rankdata(values) - 0.5) / len(values) - 0.5 for values in (y, predicted))
    columns = [np.ones(len(true)), true, guess, true**2, guess**2, true * guess]
    columns += [error**2, np.abs(error), r, s, r**2, s**2, r * s]
    return sums_by_cluster(np.stack(columns, axis=1), clusters)


def ccc(sums: np.ndarray) -> np.ndarray:
    """Concordance correlation coefficient (Lin 1989): 2 s_yp / (s_y² + s_p² + (mean y - mean p)²).

    With variances divided by N, as in Lin's paper. 1 only for p = y; an offset or another scale lowers it,
    where Pearson's r ignores them.
    """
    n, y, p, yy, pp, yp = (sums[..., k] for k in range(6))
    mean_y, mean_p = ratio(y, n), ratio(p, n)
    var_y, var_p = ratio(yy, n) - mean_y**2, ratio(pp, n) - mean_p**2
    value = ratio(2 * (ratio(yp, n) - mean_y * mean_p), var_y + var_p + (mean_y - mean_p) ** 2)
    return np.where(_varies(var_y, ratio(yy, n)), value, np.nan)


def pearson(sums: np.ndarray) -> np.ndarray:
    """Pearson's correlation coefficient; 0 for constant predictions, NaN for a constant truth."""
    return _correlation(*(sums[..., k] for k in range(6)))


def spearman(sums: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation coefficient, with mean ranks for ties; as `pearson` otherwise."""
    return _correlation(*(sums[..., k] for k in (0, 8, 9, 10, 11, 12)))


def rmse(sums: np.ndarray) -> np.ndarray:
    """Root mean squared error, in units of the target."""
    return np.sqrt(ratio(sums[..., SQUARED], sums[..., CLIPS]))


def mae(sums: np.ndarray) -> np.ndarray:
    """Mean absolute error, in units of the target."""
    return ratio(sums[..., ABSOLUTE], sums[..., CLIPS])


def _correlation(
    n: np.ndarray, a: np.ndarray, b: np.ndarray, aa: np.ndarray, bb: np.ndarray, ab: np.ndarray
) -> np.ndarray:
    mean_a, mean_b, square_a, square_b = (ratio(values, n) for values in (a, b, aa, bb))
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    varies_a, varies_b = _varies(var_a, square_a), _varies(var_b, square_b)
    product = np.where(varies_a & varies_b, var_a * var_b, 1.0)
    value = np.clip((ratio(ab, n) - mean_a * mean_b) / np.sqrt(product), -1, 1)
    return np.where(varies_a, np.where(varies_b, value, 0.0), np.nan)


def _varies(variance: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Whether a variance is more than the rounding error of the mean square that it is computed from."""
    with np.errstate(invalid="ignore"):
        return np.asarray(variance > 1e-13 * square)
