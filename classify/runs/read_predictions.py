"""Read the predictions of a run folder back, and check that two runs can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.config import TaskName, name_of_splits, task_of
from layerprobe.classify.runs.bundle_files import MANIFEST as BUNDLE_MANIFEST
from layerprobe.classify.runs.run_folder import (
    PREDICTIONS,
    RESTORE_OR_RERUN,
    RUN,
    SPLITS,
    read_csv,
    read_json,
    reading_table,
    reporting_damage,
)
from layerprobe.classify.scores.results import SELECTED

COLUMNS = ("clip", "fold", "speaker", "system", "label", "predicted")
FOLD_SETTINGS = ("protocol", "splits", "split", "train_corpus", "test_corpus", "folds", "seed")


@dataclass(frozen=True, kw_only=True)
class SystemPredictions:
    """One system's predictions for the N test clips of a run, sorted by clip.

    run: the folder. record: its run.json. clips: (N,) ids. folds: (N,) numbers. speakers: (N,) names, or
    None. labels, predicted: (N,) class names, or numbers of a regression. training: fold number → ids of the
    training clips.
    """

    run: Path
    system: str
    record: Mapping[str, Any]
    clips: np.ndarray
    folds: np.ndarray
    speakers: np.ndarray | None
    labels: np.ndarray
    predicted: np.ndarray
    training: Mapping[int, frozenset[str]]

    @property
    def config(self) -> Mapping[str, Any]:
        return dict(self.record.get("config") or {})

    @property
    def task(self) -> TaskName:
        return task_of(self.config)

    @property
    def split(self) -> str:
        """The protocol, benchmark or split of the run."""
        splits = name_of_splits(self.config.get("splits"))
        return str(self.config.get("protocol") or splits or self.config.get("split", ""))


def read_finished_record(run: Path) -> dict[str, Any]:
    """run.json of a run folder. Raises InputError for a folder that holds no finished run."""
    if (run / BUNDLE_MANIFEST).is_file():
        raise InputError("is a bundle, no run folder", where=str(run), do="name the run folder above it")
    if not (run / RUN).is_file():
        what = f"is no run folder (it has no {RUN})" if run.is_dir() else "no such run folder"
        raise InputError(what, where=str(run), do="give a folder that classify has written with --out")
    record = read_json(run / RUN)
    if not record.get("finished"):
        raise InputError("this run is not finished", where=str(run), do="give its command again to resume it")
    return record


def read_predictions(run: Path) -> dict[str, SystemPredictions]:
    """Every system of a run folder, in the file's order: `selected`, then each `LAYER/HEAD`.

    Raises InputError for a folder that holds no finished run or is damaged.
    """
    record = read_finished_record(run)
    try:
        splits = read_json(run / SPLITS)["folds"]
        training = {int(fold["fold"]): frozenset(fold["train"]) for fold in splits}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"is damaged ({error})", where=str(run / SPLITS)) from error
    with reporting_damage(run / RUN):
        numbers = task_of(record.get("config") or {}) == "regression"
    rows: dict[str, list[list[str]]] = {}
    for row in _read_rows(run / PREDICTIONS):
        rows.setdefault(row[COLUMNS.index("system")], []).append(row)
    systems = {}
    for name, own in rows.items():
        columns = _columns(run / PREDICTIONS, name, own, numbers=numbers)
        if not set(columns["folds"].tolist()) <= training.keys():
            where = str(run / SPLITS)
            raise InputError("has other folds than the predictions", where=where, do=RESTORE_OR_RERUN)
        systems[name] = SystemPredictions(run=run, system=name, record=record, training=training, **columns)
    return systems


def read_system(run: Path, system: str = SELECTED) -> SystemPredictions:
    """One system of a run folder. Raises InputError."""
    systems = read_predictions(run)
    if system not in systems:
        do = f"choose from {format_list(list(systems))}"
        raise InputError(f"holds no system '{system}'", where=str(run), do=do)
    return systems[system]


def check_same_clips(first: SystemPredictions, second: SystemPredictions) -> None:
    """Raise InputError, naming every difference, unless both were tested on the same clips and folds."""
    a, b = (dict(zip(x.clips.tolist(), x.labels.tolist(), strict=True)) for x in (first, second))
    if first.task != second.task:
        what = f"{first.run} is a study of the task {first.task}, and {second.run} of {second.task}"
        raise InputError(what, do="compare runs of one task")
    differences = [
        f"{format_count(len(only), 'clip')} only in {run} ({format_list(only)})"
        for run, only in ((first.run, sorted(a.keys() - b.keys())), (second.run, sorted(b.keys() - a.keys())))
        if only
    ]
    shared = sorted(a.keys() & b.keys())
    relabelled = [f"{id}: {a[id]} and {b[id]}" for id in shared if a[id] != b[id]]
    if relabelled:
        targets = [str(x.config.get("target")) for x in (first, second)]
        of = f", targets {' and '.join(targets)}" if targets[0] != targets[1] else ""
        listed = format_list(relabelled)
        differences.append(f"{len(relabelled):,} of {len(shared):,} labels differ{of} ({listed})")
    if not differences:
        differences = _fold_differences(first, second) + _speaker_differences(first, second)
    if differences:
        raise InputError(
            f"{first.run} and {second.run} cannot be compared: {'; '.join(differences)}",
            do="compare runs of one table, target, split, folds and seed",
        )


def _fold_differences(first: SystemPredictions, second: SystemPredictions) -> list[str]:
    """Clips that share their fold with other clips in the second run; fold numbers may differ."""
    pairs, pair = np.unique(np.stack([first.folds, second.folds]), axis=1, return_inverse=True)
    # A fold is the same in both runs if its number is in one pair only, on either side.
    once = [np.bincount(np.unique(side, return_inverse=True)[1]) == 1 for side in pairs]
    places = [np.unique(side, return_inverse=True)[1] for side in pairs]
    same = once[0][places[0]] & once[1][places[1]]
    moved = first.clips[~same[pair.ravel()]]
    if not len(moved):
        return []
    settings = [
        f", {name} {first.config.get(name)} and {second.config.get(name)}"
        for name in FOLD_SETTINGS
        if first.config.get(name) != second.config.get(name)
    ]
    clips = f"{format_count(len(moved), 'clip')} in other folds ({format_list(moved.tolist())})"
    return [clips + "".join(settings)]


def _speaker_differences(first: SystemPredictions, second: SystemPredictions) -> list[str]:
    if first.speakers is None or second.speakers is None:
        named = [x.run for x in (first, second) if x.speakers is not None]
        return [f"only {named[0]} names speakers"] if named else []
    rows = np.flatnonzero(first.speakers != second.speakers)
    differing = [f"{first.clips[i]}: {first.speakers[i]} and {second.speakers[i]}" for i in rows]
    if not differing:
        return []
    return [f"{format_count(len(differing), 'clip')} with another speaker ({format_list(differing)})"]


def _read_rows(path: Path) -> list[list[str]]:
    """The cells of COLUMNS, in that order."""
    with reading_table(path):
        lines = read_csv(path)
        header = next(lines, [])
        places = [header.index(name) for name in COLUMNS]
        return [[line[place] for place in places] for line in lines]


def _columns(path: Path, system: str, rows: list[list[str]], *, numbers: bool) -> dict[str, Any]:
    """One system's rows as the arrays of `SystemPredictions`, sorted by clip. numbers: of a regression."""
    clips, folds, speakers, _, labels, predicted = (np.array(c) for c in zip(*sorted(rows), strict=True))
    repeated = clips[1:][clips[1:] == clips[:-1]]
    if len(repeated):
        raise InputError(f"system '{system}' has two predictions for {repeated[0]}", where=str(path))
    try:
        fold_numbers = folds.astype(np.int64)
        if numbers:
            labels, predicted = labels.astype(np.float64), predicted.astype(np.float64)
    except ValueError as error:
        what = f"a fold, or a label of a regression, is no number ({error})"
        raise InputError(what, where=str(path)) from error
    return {
        "clips": clips,
        "folds": fold_numbers,
        "speakers": speakers if np.any(speakers != "") else None,
        "labels": labels,
        "predicted": predicted,
    }
