"""What every head shares: the types of a fit, and class weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Params = dict[str, Any]
Notes = dict[str, float]


@dataclass(frozen=True)
class Fitted:
    """What a fit says of the test rows: scores (m, K), whose largest is the prediction, and notes."""

    scores: np.ndarray
    notes: Notes


def class_weights(y: np.ndarray, classes: int, kind: str) -> np.ndarray:
    """(n,) weights: one each, or with `balanced` as much for each class in all."""
    if kind == "none":
        return np.ones(len(y))
    return (len(y) / (classes * np.bincount(y, minlength=classes)))[y]
