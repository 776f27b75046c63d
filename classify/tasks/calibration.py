"""Temperature scaling: scores to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax


def temperature(scores: np.ndarray, y: np.ndarray) -> float:
    """The divisor of (N, K) scores that minimises the log loss of their softmax (Guo et al. 2017).

    Fitted on held-out clips, it calibrates an SVM's scores, which are not log probabilities, and
    overconfident trees. Predictions do not change.
    """
    below = scores - scores.max(1, keepdims=True)
    true = below[np.arange(len(y)), y]

    def loss(log_t: float) -> float:
        sharpness = np.exp(-log_t)
        return float(np.log(np.exp(below * sharpness).sum(1)).mean() - true.mean() * sharpness)

    result: Any = minimize_scalar(loss, bounds=(-5, 5), method="bounded")
    return float(np.exp(result.x))


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """(m, K) probabilities: the softmax of scores divided by the temperature."""
    return softmax(scores.astype(np.float64) / temperature, axis=1)
