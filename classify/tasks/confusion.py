"""Scores of predicted classes: UAR, accuracy and macro F1 from confusion counts; scores of probabilities."""

from __future__ import annotations

import numpy as np

from layerprobe.classify.tasks.task import mean_known, ratio


def confusion(y: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """(K, K) counts; rows are true classes, columns predicted ones."""
    return np.bincount(y * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recall(counts: np.ndarray) -> np.ndarray:
    """(…, K) recall per class from (…, K, K) confusion counts; NaN for a class with no clip."""
    return ratio(_diagonal(counts), counts.sum(-1))


def precision(counts: np.ndarray) -> np.ndarray:
    """(…, K) precision per class from (…, K, K) counts; NaN for a class that was never predicted."""
    return ratio(_diagonal(counts), counts.sum(-2))


def uar(counts: np.ndarray) -> np.ndarray:
    """Unweighted average recall (balanced accuracy): the mean recall over the classes that occur."""
    return mean_known(recall(counts))


def accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of clips that are classified correctly."""
    return ratio(_diagonal(counts).sum(-1), counts.sum((-2, -1)))


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """The mean over classes of F1; classes that neither occur nor are predicted are excluded."""
    return mean_known(ratio(2.0 * _diagonal(counts), counts.sum(-1) + counts.sum(-2)))


def log_loss(y: np.ndarray, probability: np.ndarray) -> float:
    """Mean −log p of the true class, in nats; p is (N, K) and clipped at 1e-15."""
    true = probability[np.arange(len(y)), y]
    return float(-np.log(np.clip(true, 1e-15, None)).mean())


def calibration_error(y: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): |confidence − accuracy| in bins of confidence."""
    confidence = probability.max(1)
    right = probability.argmax(1) == y
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


def cluster_counts(y: np.ndarray, predicted: np.ndarray, clusters: np.ndarray, *, classes: int) -> np.ndarray:
    """(clusters, K, K) confusion counts of each cluster; clusters: (N,) numbers of any kind."""
    _, code = np.unique(clusters, return_inverse=True)
    flat = (code * classes + y) * classes + predicted
    size = int(code.max()) + 1
    return np.bincount(flat, minlength=size * classes * classes).reshape(size, classes, classes)


def _diagonal(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)
