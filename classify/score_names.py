"""What scores are called, as printed and as on the axis of a figure."""

from __future__ import annotations

from collections.abc import Mapping

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
