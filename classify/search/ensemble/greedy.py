"""Greedy ensemble selection (Caruana et al. 2004)."""

from __future__ import annotations

import numpy as np

from layerprobe.classify.config import Metric
from layerprobe.classify.tasks.classification import CLASSIFICATION
from layerprobe.classify.tasks.confusion import log_loss

PICKS = 25  # weights are multiples of 1 / PICKS or coarser


def greedy_weights(
    probability: np.ndarray, y: np.ndarray, *, metric: Metric, picks: int = PICKS
) -> np.ndarray:
    """(M,) weights of M members, which sum to 1, by forward selection with replacement.

    probability: (M, n, K) of held-out clips with the classes y (n,). Each pick is the member that, averaged
    with those already picked, gives the highest score; among equals that with the lowest log loss, then
    the first. The best average of all rounds counts, so that it is no worse than the best member alone.
    """
    members, _, classes = probability.shape
    counts = best_counts = np.zeros(members, np.int64)
    total, best = np.zeros(probability.shape[1:]), (-np.inf, -np.inf)
    for number in range(1, picks + 1):
        reached = []
        for member in probability:
            average = (total + member) / number
            score = CLASSIFICATION.score(y, average.argmax(1), classes=classes, metric=metric)
            reached.append((score, -log_loss(y, average)))
        pick = max(range(members), key=reached.__getitem__)
        total = total + probability[pick]
        counts = counts + (np.arange(members) == pick)
        if reached[pick] > best:
            best, best_counts = reached[pick], counts
    return best_counts / best_counts.sum()
