"""The classifiers: for each its search space and its fit on shared work, in one dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import xgboost
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from classify.sharing import MOST_AXES, Prep, Shared
from classify.splits import stopping_part

Params = dict[str, Any]
Notes = dict[str, float]  # what the inner folds told about the refit


@dataclass(frozen=True)
class Fitted:
    """What a fit says of the test rows: (m, K) scores whose largest is the prediction, and notes."""

    scores: np.ndarray
    notes: Notes


@dataclass(frozen=True)
class Head:
    """One classifier.

    space: draws the parameters of a trial. start: the parameters of the first trial.
    fit: fits on the training rows of a fold and scores its test rows; with `notes` it is the refit.
    probability: (m, K) scores and notes → (m, K) probabilities with the same largest class.
    """

    space: Callable[[optuna.Trial], Params]
    start: Params
    fit: Callable[[Shared, Params, Prep, int, Notes | None], Fitted]
    summarise: Callable[[Sequence[Fitted], Sequence[np.ndarray]], Notes]
    probability: Callable[[np.ndarray, Notes], np.ndarray]
