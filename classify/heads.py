"""The classifiers a study may use, by name. A new one is a class like these and an entry in `HEADS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import optuna

from classify.fitted import Fitted, Notes, Params
from classify.logreg import LogReg
from classify.majority import Majority
from classify.scaling import Scaling
from classify.sharing import Prep, Shared
from classify.svm import Svm
from classify.trees import XGBoost


class Head(Protocol):
    """One kind of classifier.

    pca: sizes of PCA that are searched; 0 is every column. scalings: those that make a difference to it.
    start: the parameters of the first trial.
    """

    @property
    def pca(self) -> tuple[int, ...]: ...
    @property
    def scalings(self) -> frozenset[Scaling]: ...
    @property
    def start(self) -> Params: ...

    def space(self, trial: optuna.Trial) -> Params:
        """Draw the parameters of a trial."""

    def fit(self, shared: Shared, prep: Prep, params: Params, *, seed: int, notes: Notes | None) -> Fitted:
        """Fit on a fold's training rows and score its test rows.

        notes: None for an inner fold; what the inner folds told for the fit on the whole training part.
        """

    def summarise(self, fits: Sequence[Fitted], y: Sequence[np.ndarray]) -> Notes:
        """What the inner folds' fits and their test labels tell the last fit."""

    def probability(self, scores: np.ndarray, notes: Notes) -> np.ndarray:
        """(m, K) probabilities whose largest is the largest score."""


HEADS: dict[str, Head] = {
    "logreg": LogReg(),
    "svm": Svm(),
    "xgboost": XGBoost(),
    "majority": Majority(),
}
