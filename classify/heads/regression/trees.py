"""Gradient-boosted trees (XGBoost) for numbers: as the classifier `xgboost`, with squared error as its loss.

Numbers are standardised by the training clips, so that penalties do not depend on their unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xgboost

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.base import Head, Params
from layerprobe.classify.heads.boosting import BINS, XGBOOST, tree_settings, tree_space
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows, Trees


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.inputs(prep)
    matrix = features.cached(
        ("quantised numbers", prep, features.labels_digest),
        lambda: _quantise(train, features.y),
        size=train.size,  # one byte per bin number
    )
    booster = xgboost.train(_settings(params, seed), matrix, int(max(values)))
    scale, offset = _units(features.y)
    fitted = [Trees(booster=booster, rounds=int(n), classes=0, scale=scale, offset=offset) for n in values]
    return [one.scores(test) for one in fitted]


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit` for a single number of rounds, `value`, to score clips that are not known yet."""
    booster = xgboost.train(_settings(params, seed), _quantise(rows.Z, rows.y), int(value))
    scale, offset = _units(rows.y)
    return Trees(booster=booster, rounds=int(value), classes=0, scale=scale, offset=offset)


def _settings(params: Params, seed: int) -> Params:
    return {**tree_settings(params, seed=seed), "objective": "reg:squarederror", "base_score": 0.0}


def _quantise(rows: np.ndarray, y: np.ndarray) -> Any:
    scale, offset = _units(y)
    dense = np.ascontiguousarray(rows)
    return xgboost.QuantileDMatrix(dense, (y - offset) / scale, max_bin=BINS, nthread=1)


def _units(y: np.ndarray) -> tuple[float, float]:
    """Standard deviation and mean of the training numbers."""
    return float(y.std()), float(y.mean())


XGBOOST_REGRESSION = Head(
    space=tree_space,
    fit=fit,
    start={name: value for name, value in XGBOOST.start.items() if name != "class_weight"},
    path=XGBOOST.path,
    pca=XGBOOST.pca,
    widest=XGBOOST.widest,
    scalings=XGBOOST.scalings,
    refit=refit,
)
