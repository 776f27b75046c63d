"""The task `regression`: a number for each clip, such as arousal on a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.tasks.moments import ccc, mae, pearson, rmse, spearman, sums
from layerprobe.classify.tasks.task import Labels, Measure, Reading, Task

STRATA = 5  # of equally many clips, which folds are balanced by
FEW = 10  # different whole numbers that may be classes
LARGEST = 1e100  # beyond it, and with smaller differences than its inverse, products leave double precision
PARTS = 3  # low, middle and high, where clips are grouped by a number


def number(text: str) -> float | None:
    """The number that a cell holds, which may be infinite or NaN; None for any other text."""
    try:
        return None if "_" in text else float(text)  # Python reads 1_000
    except ValueError:
        return None


def is_measured(texts: Sequence[str]) -> bool:
    """Whether labels look like measurements, not classes: numbers with many values, or with fractions."""
    values = [number(text) for text in set(texts)]
    if any(value is None or not math.isfinite(value) for value in values):
        return False
    fractions = any(value is not None and not value.is_integer() for value in values)
    return len(values) > (2 if fractions else FEW)


def check_classes_meant(texts: Sequence[str], column: str) -> None:
    """Raise InputError for labels that look like measurements, where nobody said what they are."""
    if is_measured(texts):
        raise InputError(
            f"column '{column}' holds {len(set(texts))} different numbers: are they measured, or classes?",
            do="give --task regression, or --task classification for a class each",
        )


def read(ids: Sequence[str], texts: Sequence[str], column: str, reading: Reading) -> Labels:
    """Raises InputError for texts, infinities and NaN, naming their clips, and for one value only."""
    values = [number(text) for text in texts]
    faults = [
        f"{id}: '{text}'"
        for id, text, value in zip(ids, texts, values, strict=True)
        if value is None or not math.isfinite(value)
    ]
    if faults:
        what = f"column '{column}' holds {format_count(len(faults), 'cell')} that is no number"
        if len(faults) > 1:
            what = f"column '{column}' holds {len(faults)} cells that are no numbers"
        do = "write finite numbers with a decimal point, empty the cell, or give --task classification"
        raise InputError(f"{what} ({format_list(faults)})", do=do)
    y = np.array(values, np.float64)
    if not len(y) or np.ptp(y) == 0:
        held = f"one value only, {y[0]:g}" if len(y) else "no number at all"
        raise InputError(f"column '{column}' holds {held}", do="a regression needs numbers that differ")
    if np.abs(y).max() > LARGEST or np.ptp(y) < 1 / LARGEST:
        held = f"numbers from {y.min():g} to {y.max():g}, whose squares are out of range of double precision"
        what = f"column '{column}' holds {held}"
        raise InputError(what, do="write them in another unit")
    return Labels(classes=(), y=y)


def members(y: np.ndarray, classes: int) -> np.ndarray:
    """(N, 0): there are no classes."""
    return np.zeros((len(y), 0), bool)


def strata(y: np.ndarray) -> np.ndarray:
    """(N,): which of STRATA parts of equally many clips each number is in."""
    return np.searchsorted(np.unique(_edges(y, STRATA)), y)


def parts(y: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of PARTS groups of roughly equally many clips, by rising number, and (N,) the group of each."""
    edges = np.unique(_edges(y, PARTS))
    edges = edges[edges < y.max()]  # else the last group is empty
    ends = [f"{edge:.4g}" for edge in edges]
    if not ends:
        return (f"{y[0]:.4g}",), np.zeros(len(y), np.int64)
    names = (f"up to {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"over {ends[-1]}")
    return names, np.searchsorted(edges, y)


def _edges(y: np.ndarray, count: int) -> np.ndarray:
    return np.quantile(y, np.arange(1, count) / count, method="lower")


def decide(scores: np.ndarray) -> np.ndarray:
    """(m, 1) → (m,) numbers."""
    return scores[:, 0].astype(np.float64)


def no_temperature(scores: np.ndarray, y: np.ndarray) -> float:
    return 1.0


def no_probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    return np.zeros((len(scores), 0))


def statistics(y: np.ndarray, predicted: np.ndarray, clusters: np.ndarray | None, classes: int) -> np.ndarray:
    """(clusters, 13) or (13,): see `moments`."""
    return sums(y, predicted, clusters)


REGRESSION = Task(
    name="regression",
    read=read,
    members=members,
    strata=strata,
    decide=decide,
    temperature=no_temperature,
    probabilities=no_probabilities,
    statistics=statistics,
    measures={
        "ccc": Measure(score=ccc, low=-1.0),
        "pearson": Measure(score=pearson, low=-1.0),
        "spearman": Measure(score=spearman, low=-1.0),
        "rmse": Measure(score=rmse, high=math.inf, larger_is_better=False),
        "mae": Measure(score=mae, high=math.inf, larger_is_better=False),
    },
    chance=lambda members: 0.0,
)
