"""The head `gp`: Gaussian process classification with an RBF kernel, one class against the rest.

scikit-learn's, with Laplace's approximation (Rasmussen & Williams 2006, algorithms 3.1 and 3.2). The search
chooses the kernel's parameters, not the marginal likelihood. `gamma` is relative to the inputs' power, as
that of `svm`; `variance` is the prior variance of the latent function. The cost grows with the cube of the
number of training clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
from scipy.linalg import cholesky, solve_triangular
from scipy.special import erf

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import UNWEIGHTED, Head, Params
from layerprobe.classify.heads.fitted import FittedHead, Stored, TrainingRows, kernel_rows

MOST_CLIPS = 2000  # training clips
LEAST = 1e-12  # probability
# The logistic function as a sum of five error functions (Williams & Barber 1998, appendix A), as scikit-learn
# has it: their widths and weights.
WIDTHS = np.array([0.41, 0.4, 0.37, 0.44, 0.39])[:, None]
SHARES = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])[:, None]


def space(trial: optuna.Trial) -> Params:
    return {
        "gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True),
        "variance": trial.suggest_float("variance", 1e-1, 1e3, log=True),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    train, test = features.inputs(prep)
    model = _model(train, features.y, features.power(prep), params)
    return [np.log(np.maximum(model.predict_proba(test.astype(np.float64)), LEAST))]


def _model(Z: np.ndarray, y: np.ndarray, power: float, params: Params) -> Any:
    """scikit-learn's, fitted to rows Z (n, d) of classes y (n,)."""
    from sklearn.gaussian_process import GaussianProcessClassifier  # here, as few studies need it
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    kernel = ConstantKernel(params["variance"], "fixed") * RBF(_length(power, params), "fixed")
    return GaussianProcessClassifier(kernel, optimizer=None).fit(Z.astype(np.float64), y)


def _length(power: float, params: Params) -> float:
    return float(np.sqrt(power / (2 * params["gamma"])))


@dataclass(frozen=True, kw_only=True)
class Laplace(Stored):
    """Gaussian processes of C classes, each against the rest, at the modes of their posteriors.

    anchors: (n, d) training rows. slopes: (n, C) gradients of the log likelihood there, and roots: (n, C) of
    its curvature. Two classes are one process, C = 1. The Cholesky factors, (n, n) for each, are computed
    again from these on the first use: a file of them would be a hundred times as large.
    """

    kind: ClassVar[str] = "laplace"
    anchors: np.ndarray
    slopes: np.ndarray
    roots: np.ndarray
    length: float
    variance: float

    def scores(self, Z: np.ndarray) -> np.ndarray:
        """Log probabilities, as scikit-learn's `predict_proba` (algorithm 3.2)."""
        across, positive = self._kernel(Z), []
        for number, factor in enumerate(self._factors):
            mean = across @ self.slopes[:, number]
            solved = solve_triangular(factor, self.roots[:, number, None] * across.T, lower=True)
            spread = self.variance - np.einsum("ij,ij->j", solved, solved)
            steepness = np.sqrt(1 / (1 + 2 * spread * WIDTHS**2))
            positive.append((SHARES * erf(WIDTHS * mean * steepness)).sum(0) / 2 + SHARES.sum() / 2)
        P = np.stack(positive, axis=1)
        P = np.hstack([1 - P, P]) if P.shape[1] == 1 else P / P.sum(1, keepdims=True)
        return np.asarray(np.log(np.maximum(P, LEAST)))

    def save(self, folder: Path) -> dict[str, Any]:
        return super(Laplace, replace(self)).save(folder)  # a copy has no factors yet

    @cached_property
    def _factors(self) -> list[np.ndarray]:
        K = self._kernel(self.anchors)
        return [cholesky(np.eye(len(K)) + root[:, None] * K * root, lower=True) for root in self.roots.T]

    def _kernel(self, Z: np.ndarray) -> np.ndarray:
        anchors = self.anchors.astype(np.float64)
        return self.variance * kernel_rows(Z.astype(np.float64), anchors, 1 / (2 * self.length**2))


def refit(rows: TrainingRows, params: Params, value: float, seed: int) -> FittedHead:
    """As `fit`, to score clips that are not known yet."""
    model = _model(rows.Z, rows.y, rows.power, params)
    several = getattr(model.base_estimator_, "estimators_", None)  # of each class; two classes have one
    fitted = [model.base_estimator_] if several is None else several
    return Laplace(
        anchors=rows.Z,
        slopes=np.stack([one.y_train_ - one.pi_ for one in fitted], axis=1),
        roots=np.stack([one.W_sr_ for one in fitted], axis=1),
        length=_length(rows.power, params),
        variance=params["variance"],
    )


GP = Head(
    space=space,
    fit=fit,
    start={"gamma": 0.5, "variance": 10.0},
    pca=(0, 32, 64),
    widest=128,
    scalings=ALL_SCALINGS,
    refit=refit,
    most_clips=MOST_CLIPS,
    samplings=UNWEIGHTED,
)
