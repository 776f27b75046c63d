"""Intervals of RMSE and MAE over speakers.

Errors are skewed, and speakers differ most by the square of an offset: among ten there is often none on whom
a system is far off, and then both the mean and the spread of the losses are too low. Percentiles of a cluster
bootstrap end too low therefore, and so do BCa and studentised ones. Each end of an interval here is the outer
one of two:

1. What speakers' mean losses show: the jackknife's variance of the logarithm of the mean loss, as that of a
   scaled chi-square distribution, which a sum of squares has (Satterthwaite 1946).
2. What their errors show, if errors and speakers' offsets are normal. The sum of squares is then a quadratic
   form, whose cumulants follow from the variances within and between speakers: second moments, where the
   other end needs fourth ones. A chi-square distribution with its first three cumulants is close to it (Imhof
   1961, section 4). MAE gets the same relative ends, as its logarithm varies almost as that of RMSE.

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
ROUNDS = 4  # of weights for the variance between speakers, after which it changes no more

Ends = tuple[np.ndarray, np.ndarray]  # (R,) each, relative to what was measured


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
    freedom = effective_sample_size(clips) - 1
    tail = max(float(norm.cdf(-t.ppf((1 + LEVEL) / 2, freedom))), LEAST_TAIL)
    power = 1.0 if metric == "rmse" else 2.0  # of the mean loss, that has the unit of a square
    seen = chi_square_ends(power**2 * log_variance(loss, clips), tail=tail)
    parts = error_parts(sums[..., PREDICTED] - sums[..., TRUE], sums[..., SQUARED], clips)
    normal = quadratic_form_ends(*parts, clips, tail=tail)
    low, high = np.minimum(seen[0], normal[0]), np.maximum(seen[1], normal[1])
    return [
        Interval(*map(float, row)) for row in zip(values, values * low**0.5, values * high**0.5, strict=True)
    ]


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


def chi_square_ends(variance: np.ndarray, *, tail: float) -> Ends:
    """Ends of the expectation of a scaled chi-square variable with this relative variance (R,)."""
    varies = variance > 0
    freedom = 2 / np.where(varies, variance, 1.0)
    with np.errstate(divide="ignore"):
        low, high = freedom / chi2.isf(tail, freedom), freedom / chi2.ppf(tail, freedom)
    return np.where(varies, low, 1.0), np.where(varies, high, 1.0)


def quadratic_form_ends(
    mean: np.ndarray, within: np.ndarray, between: np.ndarray, clips: np.ndarray, *, tail: float
) -> Ends:
    """Ends of the expectation of the sum of squared errors that are normal, with normal offsets of speakers.

    mean: (R,) of all errors. within, between: (R,) variances of a speaker's clips and of offsets.
    """
    n = clips[:, None]
    offset = within + n * between  # an eigenvalue of a speaker's covariance; the n - 1 others are `within`
    first, second, third = (
        factor * (offset**r + (n - 1) * within**r + r * n * mean**2 * offset ** (r - 1)).sum(0)
        for r, factor in ((1, 1), (2, 2), (3, 8))
    )
    varies = second > 0
    first, second, third = (np.where(varies, each, 1.0) for each in (first, second, third))
    spread, freedom = np.sqrt(second) / first, 8 * second**3 / third**2
    few, many = (
        1 + spread * (chi2.ppf(p, freedom) - freedom) / np.sqrt(2 * freedom) for p in (tail, 1 - tail)
    )
    with np.errstate(divide="ignore"):
        return np.where(varies, 1 / many, 1.0), np.where(varies, 1 / np.maximum(few, 0), 1.0)


def error_parts(
    errors: np.ndarray, squares: np.ndarray, clips: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R,) each: the size of the mean error, and variances of clips within speakers and of speakers' offsets.

    errors, squares: (clusters, R) sums of errors and of their squares. Each speaker counts by the precision
    of her offset, not by her clips: large speakers would decide alone otherwise.
    """
    several = clips > 1
    if not several.any():
        mean = errors.mean(0)
        return np.abs(mean), np.square(errors - mean).sum(0) / (len(clips) - 1), np.zeros_like(mean)
    n = clips[several, None]
    within = (squares - errors**2 / clips[:, None]).sum(0) / (clips.sum() - len(clips))
    within = np.maximum(within, 0)
    errors, squares = errors[several], squares[several]
    products = (errors**2 - squares) / (n * (n - 1))  # of two clips; their mean is an offset's square
    offsets = within
    for _ in range(ROUNDS):
        spread = offsets + within / n
        precision = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 1.0)
        offsets = np.maximum((precision**2 * products).sum(0) / (precision**2).sum(0), 0)
    mean = (precision * errors / n).sum(0) / precision.sum(0)
    shared = np.clip(mean**2 - 1 / precision.sum(0), 0, offsets)  # without what chance adds to the square
    return np.sqrt(shared), within, offsets - shared
