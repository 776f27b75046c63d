"""Identity and result of one study. Imports nothing heavy, so that readers of a run stay light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SELECTED = "selected"


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
    """

    id: StudyId
    params: dict[str, Any]
    inner_score: float
    predicted: np.ndarray
    probability: np.ndarray
    trials: int
    pruned: int


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
