"""The weights that a head learnt for the layers, over outer folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from layerprobe.classify.data.splits import OuterFold
from layerprobe.classify.scores.bootstrap import LEVEL
from layerprobe.classify.scores.results import StudyId, StudyResult

LAYER_WEIGHTS = "layer_weights"


def mean_layer_weights(
    results: Mapping[StudyId, StudyResult], folds: Sequence[OuterFold], *, layers: Sequence[str]
) -> dict[str, Any] | None:
    """The mean weight of each layer over outer folds with its 95 % interval; None if no head learnt weights.

    Training partitions of outer folds overlap, so the variance of the mean is that of the corrected resampled
    t-test (Nadeau & Bengio 2003): (1/J + tested/trained) s² for J folds. Bounds are None for a single fold.
    layers: names, in the order of the weights.
    """
    found = {
        id: result.details[LAYER_WEIGHTS] for id, result in results.items() if LAYER_WEIGHTS in result.details
    }
    if not found:
        return None
    by_fold = np.array(list(found.values()))  # (J, L)
    tested, trained = (
        float(np.mean([len(getattr(fold.outer, part)) for fold in folds])) for part in ("test", "train")
    )
    count, mean = len(by_fold), by_fold.mean(0)
    low = high = np.full(len(mean), np.nan)
    if count > 1:
        half = student.ppf((1 + LEVEL) / 2, count - 1) * np.sqrt(
            (1 / count + tested / trained) * by_fold.var(0, ddof=1)
        )
        low, high = np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1)
    return {
        "head": next(iter(found)).head,
        "layers": [
            {"layer": name, "weight": {"value": value, "low": a, "high": b}}
            for name, value, a, b in zip(layers, mean, low, high, strict=True)
        ],
        "folds": [{"fold": id.fold, "weights": weights} for id, weights in found.items()],
    }
