"""The interface between a classifier and the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna

from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows

Params = dict[str, Any]
Space = Callable[[optuna.Trial], Params]
Refit = Callable[[TrainingRows, Params, float, int], FittedHead]
Fit = Callable[[FoldFeatures, Preprocessing, Params, Sequence[float], int], Iterable[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Head:
    """One kind of classifier: its search space, its fit, and what it can use.

    space: suggests a trial's parameters, all except the path's. fit: (features, preprocessing, parameters,
    rising values of the path, seed) → for each value the (m, K) scores of the
        fold's test rows, from a fit on its training rows. The largest score is the prediction; the softmax of
        scores divided by a temperature gives probabilities. A generator, where each value costs time: a
        search may stop before the last one.
    start: parameters of the first trial. path: name and rising values of a parameter that one fit covers at
    little extra cost; each trial takes the best value.
        A head without such a parameter has one value.
    pca: numbers of principal components to search; 0 is no PCA.
    widest: number of columns above which the head requires PCA; None for no limit.
    scalings: those that affect the head.
    parameters: (columns, classes, parameters of the fit) → number of trained parameters, where it is fixed.
    kernel: whether the head uses its inputs through kernels only, and so can use a mix of layers.
    refit: (training rows, parameters, value of the path, seed) → a head that scores any clip, as `fit` with
        that value does; for a head on kernels, of rows divided by the root of their power.
    reads: what it receives of a clip: statistics over frames, every frame, or nothing.
    """

    space: Space
    fit: Fit
    start: Mapping[str, Any]
    path: tuple[str, tuple[float, ...]] = ("", (1.0,))
    pca: tuple[int, ...] = (0,)
    widest: int | None = None
    scalings: frozenset[Scaling]
    parameters: Callable[[int, int, Params], int] | None = None
    kernel: bool = False
    refit: Refit
    reads: Literal["statistics", "frames", "nothing"] = "statistics"
