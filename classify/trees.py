"""Gradient-boosted trees on few, already quantised columns, stopped early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import optuna
import xgboost

from classify.fitted import Fitted, Notes, Params, class_weights
from classify.scaling import Scaling
from classify.sharing import Prep, Shared
from classify.splits import stopping_part

BINS = 64
ROUNDS = 300
PATIENCE = 20  # rounds without a lower loss after which a fit stops
STOPPING_SHARE = 0.2  # of the training speakers, held out to stop on


class XGBoost:
    """Trees on principal components.

    An inner fit holds out some training speakers and stops when their loss no longer falls; the last fit uses
    every training clip for the inner fits' mean number of rounds.
    """

    pca = (16, 32, 64)
    scalings: frozenset[Scaling] = frozenset({"standard", "speaker"})
    start: ClassVar[Params] = {
        "max_depth": 3,
        "learning_rate": 0.1,
        "subsample": 0.8,
        "colsample_bytree": 0.5,
        "min_child_weight": 1.0,
        "reg_lambda": 1.0,
        "reg_alpha": 1e-3,
        "class_weight": "balanced",
    }

    def space(self, trial: optuna.Trial) -> Params:
        return {
            "max_depth": trial.suggest_int("max_depth", 2, 5),
            "learning_rate": trial.suggest_float("learning_rate", 0.05, 0.5, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.1, 10.0, log=True),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-2, 1e2, log=True),
            "reg_alpha": trial.suggest_float("reg_alpha", 1e-3, 1e1, log=True),
            "class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"]),
        }

    def fit(self, shared: Shared, prep: Prep, params: Params, *, seed: int, notes: Notes | None) -> Fitted:
        settings = {
            **{name: value for name, value in params.items() if name != "class_weight"},
            "objective": "multi:softprob",
            "num_class": shared.classes,
            "tree_method": "hist",
            "max_bin": BINS,
            "nthread": 1,
            "seed": seed,
        }
        weighting = params["class_weight"]
        if notes is None:
            fitted, stopping = self._parted(shared, prep, weighting, seed)
            booster = xgboost.train(
                settings,
                fitted,
                ROUNDS,
                evals=[(stopping, "stopping")],
                early_stopping_rounds=PATIENCE,
                verbose_eval=False,
            )
            rounds = booster.best_iteration + 1
        else:
            rounds = round(notes["rounds"])
            booster = xgboost.train(settings, self._whole(shared, prep, weighting), rounds)
        _, test = shared.arrays(prep)
        scores = booster.inplace_predict(np.ascontiguousarray(test), iteration_range=(0, rounds))
        return Fitted(scores.reshape(-1, shared.classes), {"rounds": float(rounds)})

    def summarise(self, fits: Sequence[Fitted], y: Sequence[np.ndarray]) -> Notes:
        return {"rounds": float(np.mean([fit.notes["rounds"] for fit in fits]))}

    def probability(self, scores: np.ndarray, notes: Notes) -> np.ndarray:
        return scores

    def _parted(self, shared: Shared, prep: Prep, weighting: str, seed: int) -> tuple[Any, Any]:
        """The rows to fit and the rows to stop on, quantised alike."""

        def make() -> tuple[Any, Any]:
            train, _ = shared.arrays(prep)
            held = stopping_part(shared.y, shared.groups, share=STOPPING_SHARE, seed=seed)
            weight = class_weights(shared.y, shared.classes, weighting)
            fitted = quantised(train[~held], shared.y[~held], weight[~held])
            return fitted, quantised(train[held], shared.y[held], weight[held], ref=fitted)

        return shared.keep(("parted", prep, weighting), make)

    def _whole(self, shared: Shared, prep: Prep, weighting: str) -> Any:
        train, _ = shared.arrays(prep)
        weight = class_weights(shared.y, shared.classes, weighting)
        return shared.keep(("whole", prep, weighting), lambda: quantised(train, shared.y, weight))


def quantised(X: np.ndarray, y: np.ndarray, weight: np.ndarray, *, ref: Any = None) -> Any:
    """A matrix whose columns are cut into bins once, for all trials that use it."""
    X = np.ascontiguousarray(X)
    return xgboost.QuantileDMatrix(X, y, weight=weight, max_bin=BINS, ref=ref, nthread=1)
