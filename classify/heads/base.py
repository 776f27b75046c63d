"""The interface between a classifier and the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import optuna

from layerprobe.classify.config import Sampling, Scaling
from layerprobe.classify.features.fold_features import FoldFeatures, Preprocessing
from layerprobe.classify.heads.fitted import FittedHead, TrainingRows

ALL_SAMPLINGS: frozenset[Sampling] = frozenset(get_args(Sampling))
NO_SAMPLING: frozenset[Sampling] = frozenset({"none"})
UNWEIGHTED: frozenset[Sampling] = ALL_SAMPLINGS - {"mixup"}
Params = dict[str, Any]
Space = Callable[[optuna.Trial], Params]
Refit = Callable[[TrainingRows, Params, float, int], FittedHead]
Fit = Callable[[FoldFeatures, Preprocessing, Params, Sequence[float], int], Iterable[np.ndarray]]
Explain = Callable[[FoldFeatures, Preprocessing, Params, float, int], dict[str, Any]]


def no_space(trial: optuna.Trial) -> Params:
    """Nothing to search beside a path."""
    return {}


def class_weight_space(trial: optuna.Trial) -> Params:
    """The weights of the classes, which are all that a head with a path searches in a trial."""
    return {"class_weight": trial.suggest_categorical("class_weight", ["none", "balanced"])}


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
    together: whether it reads all layers of the mix, and no single layer.
    refit: (training rows, parameters, value of the path, seed) → a head that scores any clip, as `fit` with
        that value does; for a head on kernels, of rows divided by the root of their power.
    reads: what it receives of a clip: statistics over frames, every frame, or nothing.
    explain: (features, preprocessing, parameters, value of the path, seed) → what `summary.json` reports of
        the fit on a fold, as JSON, by name.
    most_clips: training clips above which it is refused; None for no limit.
    streamed: the head on states that are read in blocks, with what it can do there; None for a head that
        needs them in memory.
    samplings: those of training clips that it can use; mixup requires that it weights its rows.
    """

    space: Space
    fit: Fit
    refit: Refit
    start: Mapping[str, Any]
    path: tuple[str, tuple[float, ...]] = ("", (1.0,))
    pca: tuple[int, ...] = (0,)
    widest: int | None = None
    scalings: frozenset[Scaling]
    parameters: Callable[[int, int, Params], int] | None = None
    kernel: bool = False
    together: bool = False
    reads: Literal["statistics", "frames", "nothing"] = "statistics"
    explain: Explain | None = None
    most_clips: int | None = None
    samplings: frozenset[Sampling] = ALL_SAMPLINGS
    streamed: Head | None = None

    @property
    def mixes(self) -> bool:
        """Whether the head can read the layer `mix`."""
        return self.kernel or self.together
