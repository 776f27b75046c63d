"""Intervals of RMSE and MAE over speakers.

Errors are skewed, and speakers differ most by the square of an offset: among ten there is often none on whom
a system is far off, and then both the mean and the spread of the losses are too low. Percentiles of a cluster
bootstrap end too low therefore, and so do BCa and studentised ones. An interval here is that of the mean of a
scaled chi-square variable, which a sum of squares has nearly (Satterthwaite 1946), with the larger of two
relative variances:

1. What speakers' mean losses show: the jackknife's variance of the logarithm of the mean loss.
2. What their errors show, if errors and speakers' offsets are normal. The variance of the sum of squares then
   follows from the variances within and between speakers: second moments, where the other needs fourth ones.
   The logarithm of MAE varies almost as that of RMSE.

Tails are expanded from the normal quantile to Student's, with the effective number of speakers minus 1
degrees of freedom, as in `bootstrap` (Hesterberg 2015).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import chi2, norm, t

from layerprobe.classify.scores.bootstrap import LEVEL, Interval, effective_sample_size
from layerprobe.classify.tasks.moments import CLIPS, LOSSES, PREDICTED, SQUARED, TRUE

LEAST_TAIL = 1e-12  # quantiles further out are not exact


def error_intervals(sums: np.ndarray, *, metric: Literal["rmse", "mae"]) -> list[Interval]:
    """RMSE or MAE of R systems on all clips, with its 95 % interval.

    sums: (clusters, R, 13) of `tasks.moments`, per speaker, or per clip where speakers are unknown. With a
    single cluster, low and high are NaN.
    """
    clips, loss = sums[:, 0, CLIPS], sums[..., LOSSES[metric]]
    mean = loss.sum(0) / clips.sum()
    values = np.sqrt(mean) if metric == "rmse" else mean
    if len(sums) < 2:
        return [Interval(float(value), float("nan"), float("nan")) for value in values]
    power = 1 if metric == "rmse" else 2  # of the mean loss, that has the unit of a square
    seen = power**2 * log_variance(loss, clips)
    normal = normal_variance(sums[..., PREDICTED] - sums[..., TRUE], sums[..., SQUARED], clips)
    low, high = chi_square_ends(np.maximum(seen, normal), clips)
    return [
        Interval(*map(float, row)) for row in zip(values, values * low**0.5, values * high**0.5, strict=True)
    ]


def chi_square_ends(variance: np.ndarray, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends (R,) of the 95 % interval of an expectation, over the value of a variable with that expectation.

    The variable has a scaled chi-square distribution. variance: (R,), relative. clips: (clusters,). NaN where
    the upper end is beyond all numbers, as where one speaker has almost all clips.
    """
    freedom = effective_sample_size(clips) - 1
    tail = max(float(norm.cdf(-t.ppf((1 + LEVEL) / 2, freedom))), LEAST_TAIL)
    varies = variance > 0
    shape = 2 / np.where(varies, variance, 1.0)
    with np.errstate(divide="ignore"):
        low, high = shape / chi2.isf(tail, shape), shape / chi2.ppf(tail, shape)
    low, high = (np.where(np.isfinite(high), end, np.nan) for end in (low, high))
    return np.where(varies, low, 1.0), np.where(varies, high, 1.0)


def log_variance(loss: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """(R,) variance of the logarithm of the mean loss over clusters, by the jackknife.

    loss: (clusters, R) sums over clips. clips: (clusters,). By the delta method where all loss is in one
    cluster, as the rest then has no logarithm. 0 without any loss.
    """
    count, total, share = len(clips), loss.sum(0), (clips / clips.sum())[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.log((total - loss) / (1 - share))
        variance = (count - 1) / count * np.square(without - without.mean(0)).sum(0)
        simple = count / (count - 1) * np.square(loss / total - share).sum(0)
    return np.where(np.isfinite(variance), variance, np.where(total > 0, simple, 0.0))


def normal_variance(errors: np.ndarray, squares: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """(R,) relative variance of the sum of squared errors that are normal, with normal offsets of speakers.

    errors, squares: (clusters, R) sums of errors and of their squares. clips: (clusters,).
    """
    mean, within, between = error_parts(errors, squares, clips)
    n = clips[:, None]
    offset = within + n * between  # an eigenvalue of a speaker's covariance; the n - 1 others are `within`
    expected = (offset + (n - 1) * within + n * mean**2).sum(0)
    variance = 2 * (offset**2 + (n - 1) * within**2 + 2 * n * mean**2 * offset).sum(0)
    return np.divide(variance, expected**2, out=np.zeros_like(expected), where=expected > 0)


def error_parts(
    errors: np.ndarray, squares: np.ndarray, clips: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R,) each: the size of the mean error, and variances of clips within speakers and of speakers' offsets.

    As `normal_variance`. Speakers count by their clips, as in the score: small speakers may differ from large
    ones, who decide it.
    """
    total, several = float(clips.sum()), clips > 1
    mean = errors.sum(0) / total
    if not several.any():
        return np.abs(mean), np.square(errors - mean).sum(0) / (len(clips) - 1), np.zeros_like(mean)
    within = (squares - errors**2 / clips[:, None]).sum(0) / (total - len(clips))
    within = np.maximum(within, 0)
    n = clips[several, None]
    products = (errors[several] ** 2 - squares[several]) / (n - 1)  # of two clips, n times their mean
    offsets = np.maximum(products.sum(0) / n.sum(), 0)  # mean squares of offsets, with the mean's
    by_chance = offsets / effective_sample_size(clips) + within / total  # in the square of the mean
    shared = np.clip(mean**2 - by_chance, 0, offsets)
    return np.sqrt(shared), within, offsets - shared
