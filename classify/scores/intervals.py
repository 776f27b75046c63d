"""The scores of systems with their intervals over speakers."""

from __future__ import annotations

import numpy as np

from layerprobe.classify.config import Metric
from layerprobe.classify.scores.bootstrap import Interval, draw_scores, expanded_percentile_interval
from layerprobe.classify.scores.errors import error_intervals
from layerprobe.classify.tasks.registry import MEASURES
from layerprobe.classify.tasks.task import clip_counts


def score_intervals(counts: np.ndarray, *, metric: Metric, seed: int) -> list[Interval]:
    """The score of each of R systems on all clips, with its 95 % interval.

    counts: (clusters, R, *S) statistics per speaker, such as confusion counts, or per clip where speakers are
    unknown. Clips of one speaker are correlated, so that resampling clips gives intervals that are too
    narrow. RMSE and MAE have intervals without resampling, see `errors`. With a single cluster, low and high
    are NaN.
    """
    if metric == "rmse" or metric == "mae":
        return error_intervals(counts, metric=metric)
    draws = draw_scores(counts, metric=metric, seed=seed)
    sizes, measure = clip_counts(counts[:, 0]), MEASURES[metric]
    values = measure.score(counts.sum(0)).tolist()
    within = measure.low, measure.high
    return [
        Interval(value, *expanded_percentile_interval(draws[:, k], sizes, within=within))
        for k, value in enumerate(values)
    ]
