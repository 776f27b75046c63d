"""The task `ordinal`: classes in an order, such as levels of arousal 0 < 1 < 2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.tasks.calibration import probabilities, temperature
from layerprobe.classify.tasks.classification import decide, members, statistics
from layerprobe.classify.tasks.confusion import accuracy, uar
from layerprobe.classify.tasks.regression import number
from layerprobe.classify.tasks.task import Labels, Measure, Reading, Task, ratio


def read(ids: Sequence[str], texts: Sequence[str], column: str, reading: Reading) -> Labels:
    """Levels in the order of `reading.levels`, or numbers by their size.

    Raises InputError for texts without an order, levels that are unknown, written in two ways or without
    clips, and for fewer than two.
    """
    names = sorted(set(texts))
    if len(names) < 2:
        only = f"only '{names[0]}'" if names else "no label at all"
        raise InputError(f"column '{column}' holds {only}", do="an order needs two levels or more")
    levels = reading.levels or by_size(names, column)
    faults = [f"{id}: '{text}'" for id, text in zip(ids, texts, strict=True) if text not in levels]
    if faults:
        what = f"column '{column}' holds labels that --levels does not name ({format_list(faults)})"
        raise InputError(what, do="name every level, or empty these cells")
    if absent := [level for level in levels if level not in names]:
        what = f"--levels names {format_list(absent)}, and no clip in column '{column}' has it"
        raise InputError(what, do="omit it: levels are equally far apart, and so would be a missing one")
    number_of = {level: place for place, level in enumerate(levels)}
    return Labels(classes=tuple(levels), y=np.array([number_of[text] for text in texts]))


def by_size(names: Sequence[str], column: str) -> tuple[str, ...]:
    """Levels that are numbers, the smallest first. Raises InputError for other texts and equal numbers."""
    values = [number(name) for name in names]
    if texts := [
        name for name, value in zip(names, values, strict=True) if value is None or math.isnan(value)
    ]:
        raise InputError(
            f"column '{column}' holds labels without an order: {format_list(texts)}",
            do="name all of them, lowest first: --levels low,middle,high",
        )
    if len(set(values)) < len(values):
        twice = [name for name, value in zip(names, values, strict=True) if values.count(value) > 1]
        raise InputError(
            f"column '{column}' holds one level written in several ways: {format_list(twice)}",
            do="write each in one way",
        )
    return tuple(name for _, name in sorted(zip(values, names, strict=True)))


def weighted_kappa(counts: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights (Cohen 1968) of (…, K, K) confusion counts.

    1 for perfect agreement, 0 for what the marginal counts alone give. NaN where truth and predictions are
    the same single level.
    """
    counts = np.asarray(counts, np.float64)
    levels = np.arange(counts.shape[-1])
    weights = (levels[:, None] - levels) ** 2.0
    total = counts.sum((-2, -1))
    expected = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :]
    above = (weights * counts).sum((-2, -1)) * total
    below = (weights * expected).sum((-2, -1))
    return 1 - ratio(above, below)


def level_error(counts: np.ndarray) -> np.ndarray:
    """Mean absolute difference of levels, neighbours being 1 apart, of (…, K, K) confusion counts."""
    counts = np.asarray(counts, np.float64)
    levels = np.arange(counts.shape[-1])
    return ratio((np.abs(levels[:, None] - levels) * counts).sum((-2, -1)), counts.sum((-2, -1)))


ORDINAL = Task(
    name="ordinal",
    read=read,
    members=members,
    strata=np.asarray,
    decide=decide,
    temperature=temperature,
    probabilities=probabilities,
    statistics=statistics,
    measures={
        "qwk": Measure(score=weighted_kappa, low=-1.0),
        "uar": Measure(score=uar),
        "accuracy": Measure(score=accuracy),
        "level_mae": Measure(score=level_error, high=math.inf, larger_is_better=False),
    },
    chance=lambda members: 0.0,
)
