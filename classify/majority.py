"""The control that looks at no feature: the most frequent training class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import optuna

from classify.fitted import Fitted, Notes, Params
from classify.scaling import Scaling
from classify.sharing import Prep, Shared


class Majority:
    """Scores every clip by the training classes' frequencies."""

    pca = (0,)
    scalings: frozenset[Scaling] = frozenset({"none", "standard", "speaker", "l2"})
    start: ClassVar[Params] = {}

    def space(self, trial: optuna.Trial) -> Params:
        return {}

    def fit(self, shared: Shared, prep: Prep, params: Params, *, seed: int, notes: Notes | None) -> Fitted:
        share = np.bincount(shared.y, minlength=shared.classes) / len(shared.y)
        return Fitted(np.tile(share, (len(shared.test), 1)), {})

    def summarise(self, fits: Sequence[Fitted], y: Sequence[np.ndarray]) -> Notes:
        return {}

    def probability(self, scores: np.ndarray, notes: Notes) -> np.ndarray:
        return scores
