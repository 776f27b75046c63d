"""The head `gp`: Gaussian process classification with an RBF kernel, one class against the rest.

scikit-learn's, with Laplace's approximation (Rasmussen & Williams 2006, algorithms 3.1 and 3.2). The search
chooses the kernel's parameters, not the marginal likelihood. `gamma` is relative to the inputs' power, as
that of `svm`; `variance` is the prior variance of the latent function. The cost grows with the cube of the
number of training clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna

from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.features.scaling import ALL_SCALINGS
from layerprobe.classify.heads.base import UNWEIGHTED, Head, Params

MOST_CLIPS = 2000  # training clips
LEAST = 1e-12  # probability


def space(trial: optuna.Trial) -> Params:
    return {
        "gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True),
        "variance": trial.suggest_float("variance", 1e-1, 1e3, log=True),
    }


def fit(
    features: FoldFeatures, prep: Preprocessing, params: Params, values: Sequence[float], seed: int
) -> list[np.ndarray]:
    from sklearn.gaussian_process import GaussianProcessClassifier  # here, as few studies need it
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    train, test = features.inputs(prep)
    length = np.sqrt(features.power(prep) / (2 * params["gamma"]))
    kernel = ConstantKernel(params["variance"], "fixed") * RBF(length, "fixed")
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(train.astype(np.float64), features.y)
    return [np.log(np.maximum(model.predict_proba(test.astype(np.float64)), LEAST))]


GP = Head(
    space=space,
    fit=fit,
    start={"gamma": 0.5, "variance": 10.0},
    pca=(0, 32, 64),
    widest=128,
    scalings=ALL_SCALINGS,
    most_clips=MOST_CLIPS,
    samplings=UNWEIGHTED,
)
