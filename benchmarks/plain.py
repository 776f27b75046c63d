"""Reference implementation of a trial: a scikit-learn pipeline, refitted from scratch for every fold.

The search shares work between trials instead; its speed and predictions are compared with this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from layerprobe.classify.features.fold_features import BOTH, Preprocessing
from layerprobe.classify.heads.boosting import BINS

DEFAULT_TOLERANCE = 1e-4  # scikit-learn's default; stops before the optimum where the penalty is weak
EXACT_TOLERANCE = 1e-7

ParameterPath = tuple[str, Sequence[float]]  # a parameter's name and the values that one trial covers


def preparation(
    prep: Preprocessing, *, stats: tuple[str, ...], width: int, solver: str = "full"
) -> list[tuple[str, Any]]:
    """Pipeline steps from X (N, S*width) to a head's input. solver: the `svd_solver` of PCA."""
    selected = [stats.index(name) for name in prep.stats.split(BOTH)]
    columns = np.concatenate([np.arange(i * width, (i + 1) * width) for i in selected])
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
    """Mean squared norm of the prepared training rows; scales penalties and kernel widths."""
    prepared = Pipeline(steps).fit_transform(X)
    return float((prepared.astype(np.float64) ** 2).sum() / len(X))


def mixture(
    prep: Preprocessing, X: np.ndarray, *, stats: tuple[str, ...], width: int
) -> list[tuple[str, Any]]:
    """Pipeline steps from concatenated layers to an input whose Gram matrix is the layers' weighted sum.

    X (N, layers*S*width): the training rows; each layer's weight is divided by its power on them.
    """
    transformers = []
    for layer, weight in enumerate(prep.mix):
        columns = slice(layer * len(stats) * width, (layer + 1) * len(stats) * width)
        steps = preparation(replace(prep, mix=()), stats=stats, width=width)
        factor = np.float32(np.sqrt(weight / power(steps, X[:, columns])))
        scale = FunctionTransformer(_scale, kw_args={"factor": factor})
        transformers.append((f"layer{layer}", Pipeline([*steps, ("weight", scale)]), columns))
    return [("mix", ColumnTransformer(transformers))]


def _scale(X: np.ndarray, factor: np.float32) -> np.ndarray:
    return X * factor


class _Lda(LinearDiscriminantAnalysis):
    """Discriminant analysis that can give all classes of its training rows the same prior."""

    def __init__(self, *, solver: str, shrinkage: float, equal_priors: bool) -> None:
        super().__init__(solver=solver, shrinkage=shrinkage)
        self.equal_priors = equal_priors

    def fit(self, X: np.ndarray, y: np.ndarray) -> _Lda:
        classes = len(np.unique(y))
        self.priors = np.full(classes, 1 / classes) if self.equal_priors else None
        super().fit(X.astype(np.float64), y)
        return self


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A trial as a plain pipeline, on one thread.

    power: scale of the trial's penalty or kernel width. tolerance: `tol` of the logistic regression.
    """

    head: str
    steps: list[tuple[str, Any]]
    params: dict[str, Any]
    power: float
    seed: int
    tolerance: float = DEFAULT_TOLERANCE

    def predict(
        self, path: ParameterPath, X: np.ndarray, y: np.ndarray, X_test: np.ndarray
    ) -> list[np.ndarray]:
        """Predicted classes at each value of a path: one fit per value, but one booster for all rounds."""
        name, values = path
        if self.head == "xgboost":
            return self._boosted([int(rounds) for rounds in values], X, y, X_test)
        pipelines = [Pipeline([*self.steps, ("head", self._classifier({name: value}))]) for value in values]
        return [pipeline.fit(X, y).predict(X_test) for pipeline in pipelines]

    def _classifier(self, path_value: dict[str, float]) -> Any:
        params = {**self.params, **path_value}
        if self.head == "knn":
            return KNeighborsClassifier(int(params["neighbours"]), metric="cosine", algorithm="brute")
        if self.head == "lda":
            equal = params["class_weight"] == "balanced"
            return _Lda(solver="lsqr", shrinkage=params["shrinkage"], equal_priors=equal)
        class_weight = None if params["class_weight"] == "none" else params["class_weight"]
        if self.head == "logreg":
            return LogisticRegression(
                C=params["C"] / self.power, class_weight=class_weight, tol=self.tolerance, max_iter=100_000
            )
        if self.head == "ridge":
            return RidgeClassifier(params["alpha"] * self.power, class_weight=class_weight, solver="cholesky")
        linear = params["kernel"] == "linear"
        return SVC(
            kernel=params["kernel"],
            C=params["C"] / self.power if linear else params["C"],
            gamma="scale" if linear else params["gamma"] / self.power,
            class_weight=class_weight,
            break_ties=True,
        )

    def _boosted(
        self, rounds: list[int], X: np.ndarray, y: np.ndarray, X_test: np.ndarray
    ) -> list[np.ndarray]:
        params = {name: value for name, value in self.params.items() if name != "class_weight"}
        model = XGBClassifier(
            n_estimators=max(rounds),
            tree_method="hist",
            max_bin=BINS,
            n_jobs=1,
            random_state=self.seed,
            **params,
        )
        class_weight = self.params["class_weight"]
        weight = None if class_weight == "none" else compute_sample_weight(class_weight, y)
        pipeline = Pipeline(self.steps).fit(X)
        model.fit(pipeline.transform(X), y, sample_weight=weight)
        prepared = pipeline.transform(X_test)
        return [model.predict(prepared, iteration_range=(0, count)) for count in rounds]
