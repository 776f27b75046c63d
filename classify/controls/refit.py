"""The selected system of a finished run: its predictions, and the same system fitted to other data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.classify.config import TaskName
from layerprobe.classify.features.fold_features import FoldFeatures
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.runs.read_predictions import read_system
from layerprobe.classify.search.nested import split_params
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.tasks.label_sets import members_of
from layerprobe.classify.tasks.registry import TASKS


@dataclass(frozen=True, kw_only=True)
class SelectedFold:
    """What the inner folds of one outer fold selected."""

    fold: int
    layer: str
    head: str
    params: dict[str, Any]


def selected_folds(summary: Mapping[str, Any]) -> list[SelectedFold]:
    """The selected system of a run's summary, fold by fold."""
    names = [field.name for field in fields(SelectedFold)]
    return [SelectedFold(**{name: fold[name] for name in names}) for fold in summary["selected"]["folds"]]


def refit(features: FoldFeatures, selected: SelectedFold, *, task: TaskName, seed: int) -> np.ndarray:
    """(m,) classes or numbers predicted for the fold's test rows by a fit to its training rows."""
    head, params = heads_of(task)[selected.head], dict(selected.params)
    name, values = head.path
    value = params.pop(name) if name else values[0]
    prep, params = split_params(params, layers=len(features.layers))
    (scores,) = head.fit(features, prep, params, [value], seed)
    return TASKS[task].decide(scores)


def predictions_by_fold(run: Path, plan: Plan) -> list[np.ndarray]:
    """For each outer fold, the predictions that the selected system of `run` predicted for its test.

    Raises InputError for a run without predictions.
    """
    predictions = read_system(run)
    values = predictions.predicted.tolist()
    if plan.data.task == "multilabel":
        values = list(members_of(values, plan.data.classes, separator=plan.data.reading.separator))
    elif plan.data.classes:
        number_of = {name: number for number, name in enumerate(plan.data.classes)}
        values = [number_of[name] for name in values]
    value_of = dict(zip(predictions.clips.tolist(), values, strict=True))
    return [np.array([value_of[plan.data.ids[row]] for row in fold.outer.test]) for fold in plan.folds]
