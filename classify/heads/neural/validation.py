"""Training clips that are held out from a network's fit and decide when to stop it, and their score."""

from __future__ import annotations

import numpy as np

from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.classify.data.splits import stratified_folds
from layerprobe.classify.tasks.confusion import confusion, recall

HELD_OUT = 5  # one fold of so many of the training clips decides when to stop


def validation_mask(y: np.ndarray, speakers: np.ndarray | None, *, seed: int) -> np.ndarray:
    """(n,) booleans: training clips that are held out from the fit and decide when to stop.

    Speaker-disjoint, unless that would remove a class from the fit in every fold; then a share of each
    class's clips. y, speakers: (n,) of the training clips.
    """
    masks = []
    if speakers is not None:
        names, code = np.unique(speakers, return_inverse=True)
        if len(names) > 1:
            folds = min(HELD_OUT, len(names))
            fold_of = balanced_group_folds(y, code, folds=folds, seed=seed)[code]
            masks = [fold_of == fold for fold in range(folds)]
    masks.append(stratified_folds(y, HELD_OUT, seed=seed) == 0)
    classes = len(np.unique(y))
    complete = [mask for mask in masks if len(np.unique(y[~mask])) == classes]
    best = max(complete or masks[-1:], key=lambda mask: len(np.unique(y[mask])))
    return np.asarray(best)


def validation_score(scores: np.ndarray, y: np.ndarray, classes: int) -> tuple[float, float]:
    """Mean recall over the classes that occur, and the mean log likelihood, of (m, K) scores."""
    counts = confusion(y, scores.argmax(1), classes=classes)
    present = counts.sum(1) > 0
    top = scores - scores.max(1, keepdims=True)
    log_p = top - np.log(np.exp(top).sum(1, keepdims=True))
    return float(recall(counts)[present].mean()), float(log_p[np.arange(len(y)), y].mean())
