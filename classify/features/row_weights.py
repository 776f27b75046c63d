"""Weights of training rows."""

from __future__ import annotations

import numpy as np


def row_weights(y: np.ndarray, kind: str, *, classes: int, shares: np.ndarray | None = None) -> np.ndarray:
    """(n,) weights of rows with classes y (n,): `none` (all 1) or `balanced` (equal totals for all classes).

    shares: (n,) of rows that count in part, whose weight is multiplied by it; None for 1.
    """
    own = np.ones(len(y)) if shares is None else shares
    if kind == "none":
        return own
    return own * (own.sum() / (classes * np.bincount(y, own, minlength=classes)))[y]
