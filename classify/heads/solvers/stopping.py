"""How good a network is on held-out clips, which decides when its training stops."""

from __future__ import annotations

import numpy as np

from layerprobe.classify.tasks.confusion import confusion, recall


def validation_score(scores: np.ndarray, y: np.ndarray, classes: int) -> tuple[float, float]:
    """Mean recall over the classes that occur, and the mean log likelihood, in nats, of (m, K) scores.

    y: (m,) classes, or (m, K) shares, of which both numbers are the likelihood.
    """
    top = scores - scores.max(1, keepdims=True)
    log_p = top - np.log(np.exp(top).sum(1, keepdims=True))
    if y.ndim == 2:
        likelihood = float((y * log_p).sum(1).mean())
        return likelihood, likelihood
    counts = confusion(y, scores.argmax(1), classes=classes)
    present = counts.sum(1) > 0
    return float(recall(counts)[present].mean()), float(log_p[np.arange(len(y)), y].mean())
