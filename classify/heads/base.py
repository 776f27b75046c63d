"""What a classifier is to the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna

from layerprobe.classify.config import Scaling
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing

Params = dict[str, Any]
Space = Callable[[optuna.Trial], Params]
Fit = Callable[[FoldFeatures, Preprocessing, Params, Sequence[float], int], list[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Head:
    """One kind of classifier.

    space: trial → its parameters, all but the path's.
    fit: (shared, prep, params, values of the path, seed) → for each value, the (m, K) scores of the fold's
        test rows by a fit on its training rows. The largest score is the prediction; the softmax of scores
        divided by some temperature are probabilities.
    start: the parameters of the first trial.
    path: a parameter that every trial covers at several values, for little more than the cost of one fit, and
        those values; the best one becomes the trial's. A head without such a parameter has one value.
    pca: sizes of PCA that are searched; 0 is every column.
    widest: columns above which the head gets principal components only; None for no limit.
    scalings: those that make a difference to it.
    parameters: (columns, classes, parameters of the fit) → how many numbers it decides, where that is fixed.
    kernel: it sees its inputs through kernels only, and so can use a mix of layers.
    reads: what of a clip it is given: statistics over frames, every frame, or nothing.
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
    reads: Literal["statistics", "frames", "nothing"] = "statistics"
