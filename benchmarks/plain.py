"""The usual way: a scikit-learn pipeline for a trial's parameters, refitted from scratch for every fold.

The search shares work between trials instead; its speed and its predictions are measured against this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from classify.sharing import BOTH, Prep
from classify.trees import BINS


def preparation(prep: Prep, *, stats: tuple[str, ...], width: int) -> list[tuple[str, Any]]:
    """Steps from X (N, S*width) to a head's input."""
    picked = [stats.index(name) for name in prep.stats.split(BOTH)]
    columns = np.concatenate([np.arange(i * width, (i + 1) * width) for i in picked])
    steps: list[tuple[str, Any]] = [
        ("columns", FunctionTransformer(np.take, kw_args={"indices": columns, "axis": 1}))
    ]
    steps.append(("scale", StandardScaler(with_std=prep.scaling != "none")))
    if prep.scaling == "l2":
        steps += [("unit", Normalizer()), ("centre", StandardScaler(with_std=False))]
    if prep.pca:
        steps.append(("pca", PCA(prep.pca, svd_solver="full")))
    return steps


def power(steps: list[tuple[str, Any]], X: np.ndarray) -> float:
    """The mean squared length of prepared training rows: penalties and kernel widths are relative to it."""
    prepared = Pipeline(steps).fit_transform(X)
    return float((prepared.astype(np.float64) ** 2).sum() / len(X))


def classifier(
    head: str, params: dict[str, Any], *, power: float, seed: int, tolerance: float = 1e-4
) -> LogisticRegression | SVC | XGBClassifier:
    """scikit-learn's or XGBoost's own estimator for a trial's parameters, one thread.

    tolerance: of the logistic regression; 1e-4 is scikit-learn's default, which stops well before the optimum
    where the penalty is weak.
    """
    weighting = None if params["class_weight"] == "none" else params["class_weight"]
    if head == "logreg":
        return LogisticRegression(
            C=params["C"] / power, class_weight=weighting, tol=tolerance, max_iter=100_000
        )
    if head == "svm":
        linear = params["kernel"] == "linear"
        return SVC(
            kernel=params["kernel"],
            C=params["C"] / power if linear else params["C"],
            gamma="scale" if linear else params["gamma"] / power,
            class_weight=weighting,
            break_ties=True,
        )
    own = {name: value for name, value in params.items() if name not in ("class_weight", "rounds")}
    rounds = int(params["rounds"])
    return XGBClassifier(
        n_estimators=rounds, tree_method="hist", max_bin=BINS, n_jobs=1, random_state=seed, **own
    )


def fit_predict(
    steps: list[tuple[str, Any]], model: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, weighting: str
) -> np.ndarray:
    """Fit the whole pipeline on (X, y) and predict classes of X_test."""
    pipeline = Pipeline([*steps, ("head", model)])
    fitting = {}
    if isinstance(model, XGBClassifier) and weighting != "none":
        fitting["head__sample_weight"] = compute_sample_weight(weighting, y)
    return np.asarray(pipeline.fit(X, y, **fitting).predict(X_test))
