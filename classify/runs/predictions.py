"""What a run folder says a system answered: clips, folds, labels and predictions, read back and checked."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.runs.folder import ANEW, PREDICTIONS, RUN, SPLITS, read_json
from layerprobe.classify.scores.results import SELECTED

COLUMNS = ("clip", "fold", "speaker", "system", "label", "predicted")


@dataclass(frozen=True, kw_only=True)
class SystemPredictions:
    """One system's answers to the N test clips of a run, sorted by clip.

    run: the folder. told: what its run.json says. folds: (N,) fold numbers; speakers: (N,) names, or None.
    labels, predicted: (N,) class names. training: fold number → ids of the clips trained on.
    """

    run: Path
    system: str
    told: Mapping[str, Any]
    clips: np.ndarray
    folds: np.ndarray
    speakers: np.ndarray | None
    labels: np.ndarray
    predicted: np.ndarray
    training: Mapping[int, frozenset[str]]

    @property
    def config(self) -> Mapping[str, Any]:
        return dict(self.told.get("config") or {})


def read_predictions(run: Path) -> dict[str, SystemPredictions]:
    """Every system of a run folder, in the file's order: `selected`, then each `LAYER/HEAD`.

    Raises InputError for a folder that is no finished run or is damaged.
    """
    if not (run / RUN).is_file():
        what = f"is no run folder (there is no {RUN} in it)" if run.is_dir() else "no such run folder"
        raise InputError(what, where=str(run), do="give a folder that --out of classify has written")
    told = read_json(run / RUN)
    if not told.get("finished"):
        raise InputError("this run is not finished", where=str(run), do="give its command again: it goes on")
    training = {}
    try:
        for fold in read_json(run / SPLITS)["folds"]:
            training[int(fold["fold"])] = frozenset(fold["train"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"is damaged ({error})", where=str(run / SPLITS)) from error
    systems: dict[str, list[list[str]]] = {}
    for row in _rows(run / PREDICTIONS):
        systems.setdefault(row[COLUMNS.index("system")], []).append(row)
    return {name: _answers(run, name, told, rows, training) for name, rows in systems.items()}


def predictions_of(run: Path, system: str = SELECTED) -> SystemPredictions:
    """One system of a run folder. Raises InputError."""
    known = read_predictions(run)
    if system not in known:
        raise InputError(
            f"holds no system '{system}'", where=str(run), do=f"choose from {format_list(list(known))}"
        )
    return known[system]


def check_same_clips(first: SystemPredictions, second: SystemPredictions) -> None:
    """Raise InputError, naming every difference, unless both were tested on the same clips and folds."""
    a, b = (dict(zip(x.clips.tolist(), x.labels.tolist(), strict=True)) for x in (first, second))
    faults = [
        f"{format_count(len(only), 'clip')} only in {run} ({format_list(only)})"
        for run, only in ((first.run, sorted(a.keys() - b.keys())), (second.run, sorted(b.keys() - a.keys())))
        if only
    ]
    shared = sorted(a.keys() & b.keys())
    relabelled = [f"{id}: {a[id]} and {b[id]}" for id in shared if a[id] != b[id]]
    if relabelled:
        targets = [str(x.config.get("target")) for x in (first, second)]
        of = f", targets {' and '.join(targets)}" if targets[0] != targets[1] else ""
        faults.append(f"{len(relabelled):,} of {len(shared):,} labels differ{of} ({format_list(relabelled)})")
    if not faults:
        faults += _fold_faults(first, second) + _speaker_faults(first, second)
    if faults:
        raise InputError(
            f"{first.run} and {second.run} cannot be compared: {'; '.join(faults)}",
            do="compare runs of one table, target, split, folds and seed",
        )


def _fold_faults(first: SystemPredictions, second: SystemPredictions) -> list[str]:
    """Clips that are tested together with others in one run than in the other; folds may be renumbered."""
    if first.clips.tolist() != second.clips.tolist():
        return []
    pairs = np.stack([first.folds, second.folds], axis=1)
    kinds, kind = np.unique(pairs, axis=0, return_inverse=True)
    once = [np.bincount(np.unique(column, return_inverse=True)[1]) == 1 for column in kinds.T]
    numbers = [np.unique(column, return_inverse=True)[1] for column in kinds.T]
    whole = once[0][numbers[0]] & once[1][numbers[1]]
    moved = first.clips[~whole[kind.ravel()]]
    if not len(moved):
        return []
    settings = [
        f"{name} {first.config.get(name)} and {second.config.get(name)}"
        for name in ("protocol", "split", "train_corpus", "test_corpus", "folds", "seed")
        if first.config.get(name) != second.config.get(name)
    ]
    why = f", {', '.join(settings)}" if settings else ""
    return [f"{format_count(len(moved), 'clip')} in other folds ({format_list(moved.tolist())}){why}"]


def _speaker_faults(first: SystemPredictions, second: SystemPredictions) -> list[str]:
    if first.speakers is None or second.speakers is None:
        named = [x.run for x in (first, second) if x.speakers is not None]
        return [f"only {named[0]} names speakers"] if named else []
    other = np.flatnonzero(first.speakers != second.speakers)
    told = [f"{first.clips[i]}: {first.speakers[i]} and {second.speakers[i]}" for i in other]
    return [f"{format_count(len(told), 'clip')} with another speaker ({format_list(told)})"] if told else []


def _rows(path: Path) -> list[list[str]]:
    """The columns of COLUMNS, in that order."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            places = [header.index(name) for name in COLUMNS]
            return [[line[place] for place in places] for line in lines]
    except (OSError, csv.Error, ValueError, IndexError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be read ({told})", where=str(path), do=ANEW) from error


def _answers(
    run: Path,
    system: str,
    told: Mapping[str, Any],
    rows: list[list[str]],
    training: Mapping[int, frozenset[str]],
) -> SystemPredictions:
    columns = [np.array(column) for column in zip(*sorted(rows), strict=True)]
    clips, folds, speakers, _, labels, predicted = columns
    twice = clips[1:][clips[1:] == clips[:-1]]
    if len(twice):
        raise InputError(f"system '{system}' answers {twice[0]} twice", where=str(run / PREDICTIONS))
    try:
        numbers = folds.astype(np.int64)
    except ValueError as error:
        raise InputError(f"a fold has no number ({error})", where=str(run / PREDICTIONS)) from error
    if not set(numbers.tolist()) <= training.keys():
        raise InputError("has other folds than the predictions", where=str(run / SPLITS), do=ANEW)
    return SystemPredictions(
        run=run,
        system=system,
        told=told,
        clips=clips,
        folds=numbers,
        speakers=speakers if np.any(speakers != "") else None,
        labels=labels,
        predicted=predicted,
        training=training,
    )
