"""The usual way: a scikit-learn pipeline for a trial's parameters, refitted from scratch for every fold.

The search shares work between trials instead; its speed and its predictions are measured against this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from layerprobe.classify.features.fold_features import BOTH, Preprocessing
from layerprobe.classify.heads.boosting import BINS

USUAL = 1e-4  # scikit-learn's own tolerance, which stops before the optimum where the penalty is weak
EXACT = 1e-7

PathOf = tuple[str, Sequence[float]]  # a parameter and values of it


def preparation(
    prep: Preprocessing, *, stats: tuple[str, ...], width: int, solver: str = "full"
) -> list[tuple[str, Any]]:
    """Steps from X (N, S*width) to a head's input. solver: how principal components are found."""
    picked = [stats.index(name) for name in prep.stats.split(BOTH)]
    columns = np.concatenate([np.arange(i * width, (i + 1) * width) for i in picked])
    steps: list[tuple[str, Any]] = [
        ("columns", FunctionTransformer(np.take, kw_args={"indices": columns, "axis": 1}))
    ]
    steps.append(("scale", StandardScaler(with_std=prep.scaling != "none")))
    if prep.pca:
        steps.append(("pca", PCA(prep.pca, svd_solver=solver, random_state=0)))
    if prep.scaling == "l2":
        steps += [("unit", Normalizer()), ("centre", StandardScaler(with_std=False))]
    return steps


def power(steps: list[tuple[str, Any]], X: np.ndarray) -> float:
    """The mean squared length of prepared training rows: penalties and kernel widths are relative to it."""
    prepared = Pipeline(steps).fit_transform(X)
    return float((prepared.astype(np.float64) ** 2).sum() / len(X))


def mixture(
    prep: Preprocessing, X: np.ndarray, *, stats: tuple[str, ...], width: int
) -> list[tuple[str, Any]]:
    """Steps from several layers side by side to an input whose inner products are the layers' weighted sum.

    X: the training rows, whose power on each layer its weight is relative to.
    """
    parts = []
    for layer, weight in enumerate(prep.mix):
        columns = slice(layer * len(stats) * width, (layer + 1) * len(stats) * width)
        steps = preparation(replace(prep, mix=()), stats=stats, width=width)
        factor = np.float32(np.sqrt(weight / power(steps, X[:, columns])))
        weigh = FunctionTransformer(_times, kw_args={"factor": factor})
        parts.append((f"layer{layer}", Pipeline([*steps, ("weigh", weigh)]), columns))
    return [("mix", ColumnTransformer(parts))]


def _times(X: np.ndarray, factor: np.float32) -> np.ndarray:
    return X * factor


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A trial the plain way, on one thread.

    power: what the trial's penalty or kernel width is relative to. tolerance: of the logistic regression.
    """

    head: str
    steps: list[tuple[str, Any]]
    params: dict[str, Any]
    power: float
    seed: int
    tolerance: float = USUAL

    def predict(self, path: PathOf, X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> list[np.ndarray]:
        """Predicted classes at each value of a path: a whole fit for each, but one booster for all rounds."""
        name, values = path
        if self.head == "xgboost":
            return self._boosted([int(rounds) for rounds in values], X, y, X_test)
        pipelines = [Pipeline([*self.steps, ("head", self._classifier({name: value}))]) for value in values]
        return [pipeline.fit(X, y).predict(X_test) for pipeline in pipelines]

    def _classifier(self, chosen: dict[str, float]) -> LogisticRegression | SVC:
        params = {**self.params, **chosen}
        weighting = None if params["class_weight"] == "none" else params["class_weight"]
        if self.head == "logreg":
            return LogisticRegression(
                C=params["C"] / self.power, class_weight=weighting, tol=self.tolerance, max_iter=100_000
            )
        linear = params["kernel"] == "linear"
        return SVC(
            kernel=params["kernel"],
            C=params["C"] / self.power if linear else params["C"],
            gamma="scale" if linear else params["gamma"] / self.power,
            class_weight=weighting,
            break_ties=True,
        )

    def _boosted(
        self, rounds: list[int], X: np.ndarray, y: np.ndarray, X_test: np.ndarray
    ) -> list[np.ndarray]:
        own = {name: value for name, value in self.params.items() if name != "class_weight"}
        model = XGBClassifier(
            n_estimators=max(rounds),
            tree_method="hist",
            max_bin=BINS,
            n_jobs=1,
            random_state=self.seed,
            **own,
        )
        weighting = self.params["class_weight"]
        weight = None if weighting == "none" else compute_sample_weight(weighting, y)
        prepare = Pipeline(self.steps).fit(X)
        model.fit(prepare.transform(X), y, sample_weight=weight)
        prepared = prepare.transform(X_test)
        return [model.predict(prepared, iteration_range=(0, count)) for count in rounds]
