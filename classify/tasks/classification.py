"""The task `classification`: one of several classes for each clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.tasks.calibration import probabilities, temperature
from layerprobe.classify.tasks.confusion import accuracy, cluster_counts, confusion, macro_f1, uar
from layerprobe.classify.tasks.task import Labels, Measure, Reading, Task


def read(ids: Sequence[str], texts: Sequence[str], column: str, reading: Reading) -> Labels:
    """Every distinct text is a class. Raises InputError for fewer than two."""
    classes = tuple(sorted(set(texts)))
    if len(classes) < 2:
        only = f"only '{classes[0]}'" if classes else "no label at all"
        raise InputError(f"column '{column}' holds {only}", do="a classifier needs two classes or more")
    return Labels(classes=classes, y=np.searchsorted(np.array(classes), np.array(texts)))


def members(y: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) bool: the class of each clip."""
    return np.asarray(y[:, None] == np.arange(classes))


def decide(scores: np.ndarray) -> np.ndarray:
    """(m, K) scores → (m,) classes."""
    return scores.argmax(1)


def statistics(y: np.ndarray, predicted: np.ndarray, clusters: np.ndarray | None, classes: int) -> np.ndarray:
    """(clusters, K, K) or (K, K) confusion counts."""
    if clusters is None:
        return confusion(y, predicted, classes=classes)
    return cluster_counts(y, predicted, clusters, classes=classes)


CLASSIFICATION = Task(
    name="classification",
    read=read,
    members=members,
    strata=np.asarray,
    decide=decide,
    temperature=temperature,
    probabilities=probabilities,
    statistics=statistics,
    measures={
        "uar": Measure(score=uar),
        "accuracy": Measure(score=accuracy),
        "macro_f1": Measure(score=macro_f1),
    },
    chance=lambda members: 1 / int(members.any(0).sum()),
)
