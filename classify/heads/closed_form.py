"""The heads `ridge` and `lda`: linear classifiers in closed form, each with one decomposition for a path.

`ridge` is regression on ±1 for each class with an L2 penalty, as scikit-learn's RidgeClassifier; its `alpha`
is relative to the inputs' power. `lda` is linear discriminant analysis with the covariance within classes
shrunk towards a multiple of the identity (Friedman 1989), as scikit-learn's LinearDiscriminantAnalysis with
the solver `lsqr`; balanced classes are equal priors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.features.streamed.moments import NormalEquations, normal_equations
from layerprobe.classify.features.streamed.rows import StreamedRows, row_blocks
from layerprobe.classify.heads.base import UNWEIGHTED, Head, Params, class_weight_space
from layerprobe.classify.heads.fitted import FittedHead, Linear, TrainingRows
from layerprobe.classify.heads.logreg import parameters
from layerprobe.classify.heads.solvers import ridge

Solution = tuple[np.ndarray, np.ndarray]  # (d, K) weights and (K,) intercepts
LEAST = 1e-12  # of the largest eigenvalue: directions with less are rounding errors


@dataclass(frozen=True, kw_only=True)
class ClosedForm:
    """Linear scores for every penalty, from one eigendecomposition.

    values: (r,) eigenvalues. axes: (r, r) eigenvectors in columns. targets: (r, K) along them: weights are
    axes · targets / penalised values. centre: (r,), of the rows, or (K, r), of the classes. offset: (K,).
    """

    values: np.ndarray
    axes: np.ndarray
    targets: np.ndarray
    centre: np.ndarray
    offset: np.ndarray


def _decompose(equations: NormalEquations) -> ClosedForm:
    """The normal equations, diagonal along their axes."""
    values, axes = scipy.linalg.eigh(equations.products, driver="evd", check_finite=False)
    return ClosedForm(
        values=np.maximum(values, 0),
        axes=axes,
        targets=axes.T @ equations.targets,
        centre=equations.centre,
        offset=equations.offset,
    )


def class_targets(y: np.ndarray, classes: int) -> np.ndarray:
    """(n, K): 1 for the class of a row, -1 for the others."""
    return np.asarray(2.0 * (y[:, None] == np.arange(classes)) - 1)


def decompose_ridge(Z: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> ClosedForm:
    """Of rows Z (n, r) and targets (n, K): the weighted normal equations, decomposed."""
    centre, offset = np.average(Z, axis=0, weights=weight), np.average(targets, axis=0, weights=weight)
    root = np.sqrt(weight)[:, None]
    rows = (Z - centre) * root
    along = rows.T @ ((targets - offset) * root)
    return _decompose(NormalEquations(products=rows.T @ rows, targets=along, centre=centre, offset=offset))


def ridge_weights(form: ClosedForm, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """(r, K) weights and (K,) intercepts for scikit-learn's `alpha`."""
    W = form.axes @ (form.targets / (form.values + alpha)[:, None])
    return W, form.offset - form.centre @ W


def _streamed_equations(rows: StreamedRows, targets: np.ndarray, weight: np.ndarray) -> NormalEquations:
    """What `decompose_ridge` decomposes, in one pass over rows that are read in blocks."""
    return normal_equations(row_blocks(rows), targets, weight, columns=rows.shape[1])


def _solve_streamed(equations: NormalEquations, alphas: Sequence[float]) -> list[Solution]:
    """(d, K) weights and (K,) intercepts for each of scikit-learn's `alpha`."""
    products, targets = equations.products, equations.targets
    if len(alphas) == 1:
        penalised = products + alphas[0] * np.eye(len(products))
        W = scipy.linalg.solve(penalised, targets, assume_a="pos", check_finite=False)
        return [(W, equations.offset - equations.centre @ W)]
    form = _decompose(equations)
    return [ridge_weights(form, alpha) for alpha in alphas]


def _decompose_lda(Z: np.ndarray, y: np.ndarray, priors: np.ndarray) -> ClosedForm:
    """Of rows Z (n, r): the covariance within classes, weighted by the priors (K,), and the class means."""
    classes = len(priors)
    means = np.stack([Z[y == k].mean(0) if (y == k).any() else np.zeros(Z.shape[1]) for k in range(classes)])
    share = np.sqrt(priors[y] / np.bincount(y, minlength=classes)[y])[:, None]
    rows = (Z - means[y]) * share
    values, axes = scipy.linalg.eigh(rows.T @ rows, driver="evd", check_finite=False, overwrite_a=True)
    with np.errstate(divide="ignore"):
        log_priors = np.log(priors)
    return ClosedForm(
        values=np.maximum(values, 0), axes=axes, targets=(means @ axes).T, centre=means, offset=log_priors
    )


def _lda_weights(form: ClosedForm, shrinkage: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """(r, K) weights and (K,) intercepts. columns: of the input, of which r may be a rotation."""
    values = (1 - shrinkage) * form.values + shrinkage * form.values.sum() / columns
    W = form.axes @ (form.targets / np.maximum(values, LEAST * values.max())[:, None])
    return W, form.offset - 0.5 * np.einsum("kr,rk->k", form.centre, W)


def _priors(y: np.ndarray, classes: int, kind: str) -> np.ndarray:
    counts = np.bincount(y, minlength=classes)
    return (counts > 0) / (counts > 0).sum() if kind == "balanced" else counts / len(y)


def fit_ridge(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    kind, power = params["class_weight"], features.power(prep)
    if features.streamed and not prep.pca:
        rows: Any
        rows, others = features.inputs(prep)
        equations = features.cached(
            ("equations", prep, kind, features.labels_digest),
            lambda: _streamed_equations(
                rows, class_targets(features.y, features.classes), features.weights(kind)
            ),
        )
        return [others @ W + b for W, b in _solve_streamed(equations, [alpha * power for alpha in values])]
    if len(values) == 1 and ridge.suffices(len(features.y), alpha=values[0]):
        train, test = features.inputs(prep)
        targets, weight = class_targets(features.y, features.classes), features.weights(kind)
        W, b = ridge.solve(train, targets, weight, penalty=values[0] * power)
        return [test @ W + b]
    train, test = features.basis(prep)
    form = features.cached(
        ("ridge", prep, kind, features.labels_digest),
        lambda: decompose_ridge(
            train.astype(np.float64), class_targets(features.y, features.classes), features.weights(kind)
        ),
    )
    solutions = [ridge_weights(form, alpha * power) for alpha in values]
    return [test @ W + b for W, b in solutions]


def fit_lda(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.basis(prep)
    columns, kind = features.inputs(prep)[0].shape[1], params["class_weight"]
    form = features.cached(
        ("lda", prep, kind, features.labels_digest),
        lambda: _decompose_lda(
            train.astype(np.float64), features.y, _priors(features.y, features.classes, kind)
        ),
    )
    solutions = [_lda_weights(form, shrinkage, columns) for shrinkage in values]
    return [test @ W + b for W, b in solutions]


def refit_ridge(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit_ridge` for a single alpha, `value`, to score clips that are not known yet."""
    targets, weight = class_targets(rows.y, rows.classes), rows.weights(params["class_weight"])
    if isinstance(rows.Z, StreamedRows):
        equations = _streamed_equations(rows.Z, targets, weight)
        ((W, b),) = _solve_streamed(equations, [value * rows.power])
        return Linear(W=W, b=b, classes=rows.classes)
    Z, rotation = rows.basis()
    form = decompose_ridge(Z.astype(np.float64), targets, weight)
    W, b = ridge_weights(form, value * rows.power)
    return Linear(W=rotation @ W, b=b, classes=rows.classes)


def refit_lda(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit_lda` for a single shrinkage, `value`, to score clips that are not known yet."""
    Z, rotation = rows.basis()
    form = _decompose_lda(Z.astype(np.float64), rows.y, _priors(rows.y, rows.classes, params["class_weight"]))
    W, b = _lda_weights(form, value, rows.Z.shape[1])
    return Linear(W=rotation @ W, b=b, classes=rows.classes)


_RIDGE_ANYWHERE = Head(
    space=class_weight_space,
    fit=fit_ridge,
    start={"class_weight": "balanced"},
    path=("alpha", (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit_ridge,
)
RIDGE = replace(_RIDGE_ANYWHERE, streamed=_RIDGE_ANYWHERE)
LDA = Head(
    space=class_weight_space,
    fit=fit_lda,
    start={"class_weight": "balanced"},
    path=("shrinkage", (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9)),
    pca=(0, 64),
    scalings=ALL_SCALINGS,
    parameters=parameters,
    refit=refit_lda,
    samplings=UNWEIGHTED,
)
