"""What scores are called, as printed and as on the axis of a figure; scores and their intervals as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.cache.common.text import format_interval

SCORE_NAMES: Mapping[str, str] = {
    **{"uar": "UAR", "accuracy": "accuracy", "macro_f1": "macro F1"},
    **{"log_loss": "log loss", "calibration_error": "calibration error"},
    **{"ccc": "CCC", "pearson": "Pearson's r", "spearman": "Spearman's rho", "rmse": "RMSE", "mae": "MAE"},
    **{"qwk": "weighted kappa", "level_mae": "MAE of levels"},
    **{"label_f1": "macro F1", "label_uar": "mean UAR", "exact_match": "exact match"},
    **{"soft_f1": "macro F1", "soft_loss": "log loss", "soft_kl": "KL divergence"},
}
AXIS_NAMES: Mapping[str, str] = {
    **SCORE_NAMES,
    "uar": "unweighted average recall",
    "ccc": "concordance correlation coefficient",
    "qwk": "quadratic-weighted kappa",
    "label_f1": "macro F1 over labels",
    "label_uar": "UAR, mean over labels",
    "soft_f1": "macro F1 of shares above 1 / classes",
    "soft_loss": "log loss in nats",
    "soft_kl": "Kullback-Leibler divergence in nats",
    "exact_match": "share of clips with the exact set of labels",
}


def score_interval(score: Mapping[str, Any]) -> str:
    """`[0.503, 0.622]`; empty for a score without an interval."""
    return format_interval(score.get("low"), score.get("high"))


def score_text(score: Mapping[str, Any] | float, *, sign: str = "") -> str:
    """`0.558 [0.503, 0.622]`, or a score without an interval. sign: + for a difference."""
    if not isinstance(score, Mapping):
        return f"{score:{sign}.3f}"
    return f"{score['value']:{sign}.3f} {score_interval(score)}".rstrip()
