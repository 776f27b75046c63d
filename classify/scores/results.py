"""What a study is called and what it found: light enough for those who only read a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SELECTED = "selected"


@dataclass(frozen=True, order=True)
class StudyId:
    """Which study: the outer fold's number, the layer and the head."""

    fold: int
    layer: str
    head: str

    def __str__(self) -> str:
        return f"{self.fold}/{self.layer}/{self.head}"


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study found: its best parameters and what they predict for the outer test rows.

    inner_score: of the pooled inner predictions. predicted: (m,) classes; probability: (m, K).
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
    """One line of results.csv: a head on a layer, scored on one outer fold."""

    fold: int
    layer: str
    head: str
    inner_score: float
    uar: float
    accuracy: float
    macro_f1: float
    trials: int
    pruned: int
    params: str  # JSON
