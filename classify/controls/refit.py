"""The selected system of a finished run: what it answered, and how it is fitted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.features.fold_features import FoldFeatures
from layerprobe.classify.heads.registry import HEADS
from layerprobe.classify.runs.predictions import predictions_of
from layerprobe.classify.search.nested import split_params
from layerprobe.classify.search.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What inner folds chose for one outer fold."""

    fold: int
    layer: str
    head: str
    params: dict[str, Any]


def chosen_of(summary: Mapping[str, Any]) -> list[Chosen]:
    """The selected system, fold by fold."""
    names = Chosen.__dataclass_fields__
    return [Chosen(**{name: fold[name] for name in names}) for fold in summary["selected"]["folds"]]


def refit(shared: FoldFeatures, chosen: Chosen, *, seed: int) -> np.ndarray:
    """(m,) classes of the fold's test rows by a fit on its training rows, with the chosen parameters."""
    head, own = HEADS[chosen.head], dict(chosen.params)
    name, values = head.path
    value = own.pop(name) if name else values[0]
    prep, params = split_params(own, layers=len(shared.layers))
    (scores,) = head.fit(shared, prep, params, [value], seed)
    return np.asarray(scores.argmax(1))


def answered(run: Path, plan: Plan) -> list[np.ndarray]:
    """For each fold the classes (m,) that the selected system of `run` gave to the plan's test rows.

    Raises InputError where the run did not answer all of them.
    """
    told = predictions_of(run)
    classes = np.array(plan.data.classes)
    given = dict(zip(told.clips.tolist(), np.searchsorted(classes, told.predicted).tolist(), strict=True))
    return [np.array([given[plan.data.ids[row]] for row in fold.outer.test], np.int64) for fold in plan.folds]


def each_fold(predicted: Sequence[Sequence[Sequence[int]]]) -> list[list[np.ndarray]]:
    """From folds × repeats × rows to repeats × folds × rows."""
    return [[np.array(rows, np.int64) for rows in repeat] for repeat in zip(*predicted, strict=True)]
