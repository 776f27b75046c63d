"""Scores to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax


def temperature(scores: np.ndarray, y: np.ndarray) -> float:
    """The divisor of (N, K) scores under which their softmax has the least log loss (Guo et al. 2017).

    Found on clips that the fits did not see, it mends an SVM's scores, which are no log probabilities, and
    overconfident trees. It moves no prediction.
    """
    below = scores - scores.max(1, keepdims=True)
    true = below[np.arange(len(y)), y]

    def loss(log_t: float) -> float:
        sharpness = np.exp(-log_t)
        return float(np.log(np.exp(below * sharpness).sum(1)).mean() - true.mean() * sharpness)

    found: Any = minimize_scalar(loss, bounds=(-5, 5), method="bounded")
    return float(np.exp(found.x))


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """(m, K) probabilities whose largest is the largest score."""
    return softmax(scores.astype(np.float64) / temperature, axis=1)
