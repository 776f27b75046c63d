"""Everything a report shows that is in the files of one run folder, checked while it is read."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import Metric, TaskName, main_metric, task_of
from layerprobe.classify.runs.cost_table import FINETUNE
from layerprobe.classify.runs.read_predictions import COLUMNS, read_finished_record
from layerprobe.classify.runs.run_folder import (
    FINISHED_FILES,
    PREDICTIONS,
    RESTORE_OR_RERUN,
    SUMMARY,
    read_csv,
    read_json,
    reading_table,
)
from layerprobe.classify.scores.results import SELECTED
from layerprobe.classify.tasks.confusion import confusion
from layerprobe.classify.tasks.label_sets import members_of
from layerprobe.classify.tasks.registry import TASKS
from layerprobe.classify.tasks.regression import parts
from layerprobe.classify.tasks.task import Reading
from layerprobe.classify.tasks.votes import above_chance, shares_of

AUDIT, CURVES = "audit.json", "curves.csv"
NEEDED = ("selected", "layers", "heads", "controls", "audit", "data", "chance", "target", "model", "metric")
PROBABILITY = "p_"


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One finished run.

    record, summary: run.json and summary.json. audit: audit.json, or None if there is none. curves: rows of
    curves.csv, empty for a search. The rest are the selected system's N predictions: clips (N,) ids, folds
    (N,), speakers (N,) names or None, labels and predicted (N,) indices into `classes`, and probability
    (N, K). Of a regression, numbers has truth and prediction, (2, N), `classes` are groups of clips with low,
    middle and high numbers, and there are no probabilities. Of sets of labels, sets has truth and prediction,
    (2, N, K) bool, `classes` are the different true sets, and probability is that of each label. Of shares
    of votes, shares has truth and prediction, (2, N, K), and sets those above 1 / K. They are None of other
    tasks.
    """

    folder: Path
    record: Mapping[str, Any]
    summary: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    curves: tuple[Mapping[str, float], ...]
    classes: tuple[str, ...]
    clips: np.ndarray
    folds: np.ndarray
    speakers: np.ndarray | None
    labels: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    numbers: np.ndarray | None = None
    sets: np.ndarray | None = None
    shares: np.ndarray | None = None

    @property
    def metric(self) -> Metric:
        """The first score of the task."""
        return main_metric(self.summary)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def finetuned(self) -> bool:
        return self.record.get("kind") == FINETUNE

    @property
    def confidence(self) -> np.ndarray:
        """(N,) probability of the predicted class."""
        return self.probability[np.arange(len(self.clips)), self.predicted]


def read_run(folder: Path) -> RunData:
    """Read a run folder. Raises InputError if it holds no finished run, or a file is missing or damaged."""
    record = read_finished_record(folder)
    if lacking := [name for name in FINISHED_FILES if not (folder / name).is_file()]:
        what = f"holds a finished run without its {', '.join(lacking)}"
        raise InputError(what, where=str(folder), do=RESTORE_OR_RERUN)
    summary = read_json(folder / SUMMARY)
    if missing := [name for name in NEEDED if name not in summary]:
        what = f"is damaged: it holds no '{missing[0]}'"
        raise InputError(what, where=str(folder / SUMMARY), do=RESTORE_OR_RERUN)
    task = task_of(summary)
    classes = () if task == "regression" else _classes(folder / SUMMARY, summary)
    read_label = _reader(task, classes, record)
    predictions = _read_predictions(folder / PREDICTIONS, classes, read_label)
    has_counts = task not in ("regression", "multilabel", "soft")
    if not (_same_counts if has_counts else _same_score)(summary, predictions):
        what = f"does not fit {SUMMARY}: its {'confusion matrix' if has_counts else 'score'} is another"
        raise InputError(what, where=str(folder / PREDICTIONS), do=RESTORE_OR_RERUN)
    both = np.stack([predictions["labels"], predictions["predicted"]])
    if task == "regression":
        classes, codes = parts(both[0])
        predictions |= {"labels": codes, "predicted": codes, "numbers": both}
    elif task in ("multilabel", "soft"):
        if task == "soft":
            predictions |= {"shares": both}
            both = np.stack([above_chance(each) for each in both])
        different, codes = np.unique(both[0], axis=0, return_inverse=True)
        names = np.array(classes)
        classes = tuple(" + ".join(names[row]) for row in different)
        predictions |= {"labels": codes.ravel(), "predicted": codes.ravel(), "sets": both}
    return RunData(
        folder=folder,
        record=record,
        summary=summary,
        audit=read_json(folder / AUDIT, holding="findings") if (folder / AUDIT).is_file() else None,
        curves=tuple(_read_curves(folder / CURVES)) if (folder / CURVES).is_file() else (),
        classes=classes,
        **predictions,
    )


def _reader(task: TaskName, classes: tuple[str, ...], record: Mapping[str, Any]) -> Callable[[str], Any]:
    """What turns a label of predictions.csv into a class number, a number, or (K,) bool or shares."""
    if task == "regression":
        return float
    if task == "multilabel":
        separator = (record.get("config") or {}).get("separator", Reading.separator)
        return lambda text: members_of([text], classes, separator=separator)[0]
    if task == "soft":
        return lambda text: shares_of([text], classes)[0]
    return {name: k for k, name in enumerate(classes)}.__getitem__


def _same_counts(summary: Mapping[str, Any], predictions: Mapping[str, np.ndarray]) -> bool:
    """Whether the confusion counts of a summary are those of the predictions."""
    counts = np.array(summary["selected"]["confusion"]["counts"])
    found = confusion(predictions["labels"], predictions["predicted"], classes=len(counts))
    return counts.tolist() == found.tolist()


def _same_score(summary: Mapping[str, Any], predictions: Mapping[str, np.ndarray]) -> bool:
    """Whether the first score of a summary is that of the predicted numbers or sets."""
    task = TASKS[task_of(summary)]
    labels, predicted = predictions["labels"], predictions["predicted"]
    found = task.scores(task.statistics(labels, predicted, None, labels[0].size))
    return math.isclose(summary["selected"][task.main]["value"], found[task.main], abs_tol=1e-9)


def _classes(path: Path, summary: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        kind, entries = (
            ("label", "labels") if task_of(summary) in ("multilabel", "soft") else ("class", "classes")
        )
        return tuple(str(entry[kind]) for entry in summary["selected"][entries])
    except (KeyError, TypeError) as error:
        what = "is damaged: it does not describe the classes"
        raise InputError(what, where=str(path), do=RESTORE_OR_RERUN) from error


def _read_predictions(
    path: Path, classes: tuple[str, ...], read_label: Callable[[str], Any]
) -> dict[str, Any]:
    """The selected system's rows as the arrays of `RunData`."""
    wanted = [*COLUMNS, *(f"{PROBABILITY}{name}" for name in classes)]
    with reading_table(path):
        lines = read_csv(path)
        header = next(lines, [])
        places = [header.index(name) for name in wanted]
        system = header.index("system")
        rows = [[line[place] for place in places] for line in lines if line[system] == SELECTED]
        if not rows:
            raise ValueError(f"no predictions of '{SELECTED}'")
        clips, folds, speakers, _, labels, predicted, *probability = zip(*rows, strict=True)
        return {
            "clips": np.array(clips),
            "folds": np.array(folds, np.int64),
            "speakers": np.array(speakers) if any(speakers) else None,
            "labels": np.array(list(map(read_label, labels))),
            "predicted": np.array(list(map(read_label, predicted))),
            "probability": np.array(probability, np.float64).reshape(len(classes), len(rows)).T,
        }


def _read_curves(path: Path) -> list[dict[str, float]]:
    with reading_table(path), path.open(encoding="utf-8-sig", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
