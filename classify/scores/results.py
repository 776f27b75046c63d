"""Identity and result of one study. Imports nothing heavy, so that readers of a run stay light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from layerprobe.classify.layer_names import EARLY, ENSEMBLE, LATE

SELECTED = "selected"


def system_label(layer: str, head: str) -> str:
    """`svm on layer 9`, `ensemble of layers and heads`; of several models `late fusion` or `mfcc alone`."""
    if head == ENSEMBLE:
        return f"{head} of layers and heads"
    if head == SELECTED:
        return f"{layer} alone"
    return f"{head} fusion" if head in (EARLY, LATE) else f"{head} on layer {layer}"


@dataclass(frozen=True, order=True)
class StudyId:
    """One study: outer fold, layer and head."""

    fold: int
    layer: str
    head: str

    def __str__(self) -> str:
        return f"{self.fold}/{self.layer}/{self.head}"


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The best parameters of a study and their predictions for the outer test rows.

    inner_score: score of the pooled inner predictions. predicted: (m,) classes, or numbers of a regression.
    probability: (m, K), of classes. trials, pruned: how many trials ran, and how many of them were pruned.
    details: what the head reports of the fit, see `heads.base.Head.explain`.
    """

    id: StudyId
    params: dict[str, Any]
    inner_score: float
    predicted: np.ndarray
    probability: np.ndarray
    trials: int
    pruned: int
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One row of results.csv: a head on a layer, scored on one outer fold. scores: a column for each."""

    fold: int
    layer: str
    head: str
    inner_score: float
    scores: Mapping[str, float]
    trials: int
    pruned: int
    params: str  # JSON
