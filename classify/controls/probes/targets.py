"""Targets of probes: the label, the speaker and other columns as classes, and the folds of the clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from layerprobe.classify.audit.table import TEXT_COLUMNS, find_column, label_columns
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds
from layerprobe.classify.search.nested import derive_seed
from layerprobe.embed.manifest.clips import Clip

SPEAKER, DURATION = "speaker", "duration"
GENDER_COLUMNS, AGE_COLUMNS = ("gender", "sex"), ("age", "age_group", "age band")
FOLDS = 3
BINS = 3  # of a numeric column, with equal numbers of clips
MAX_NUMBERS = 20  # distinct numbers up to which each is a class; BINS for ages
MIN_CLASSES, MAX_CLASSES = 2, 50


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target of a probe. y: (N,) indices into `classes`, -1 for unused rows (clips, or frames).

    folds: (N,) the fold that tests each row. within_speakers: every speaker is in several folds, since the
    speaker is the target; other targets have speaker-disjoint folds.
    """

    name: str
    classes: tuple[str, ...]
    y: np.ndarray
    folds: np.ndarray
    within_speakers: bool
    unit: str = "clips"  # what a row is

    def summary(self) -> dict[str, Any]:
        return {
            "target": self.name,
            "classes": len(self.classes),
            self.unit: int((self.y >= 0).sum()),
            "chance": 1 / len(self.classes),
            "within_speakers": self.within_speakers,
        }


def default_targets(clips: Sequence[Clip], target: str) -> list[str]:
    """The study's target, and the nuisance variables for which the table has columns."""
    columns = label_columns(clips)
    nuisances = [
        find_column(names, columns, exclude=target) for names in (GENDER_COLUMNS, AGE_COLUMNS, TEXT_COLUMNS)
    ]
    return [target, SPEAKER, *filter(None, nuisances), DURATION]


def probe_targets(
    names: Sequence[str], data: Dataset, clips: Mapping[str, Clip], seconds: np.ndarray, *, seed: int
) -> tuple[list[Target], dict[str, str]]:
    """The targets that can be probed, and for each other name the reason why not.

    clips: by id. seconds: (N,) duration of each clip. Classes that a training set would lack are left out,
    and only the MAX_CLASSES largest are used.
    """
    disjoint = disjoint_folds(data.strata, data.speakers, balance=data.balance, seed=seed)
    targets, left_out = [], {}
    for name in names:
        within = name == SPEAKER
        folds = (
            stratified_folds(data.speakers, seed=seed) if within and data.speakers is not None else disjoint
        )
        values = _values(name, data, clips, seconds)
        classes, y = number_classes(values, folds)
        if len(classes) < MIN_CLASSES:
            left_out[name] = _reason(name, values, data)
        else:
            targets.append(Target(name=name, classes=classes, y=y, folds=folds, within_speakers=within))
    return targets, left_out


def disjoint_folds(
    y: np.ndarray, speakers: np.ndarray | None, *, balance: np.ndarray | None = None, seed: int
) -> np.ndarray:
    """(N,) folds without shared speakers; stratified by y (N,) where there are too few speakers, or none.

    balance: what folds of speakers are balanced by, as `balanced_group_folds` takes it; y if omitted.
    """
    if speakers is None or len(np.unique(speakers)) < FOLDS:
        return stratified_folds(y, seed=seed)
    _, codes = np.unique(speakers, return_inverse=True)
    return balanced_group_folds(y if balance is None else balance, codes, folds=FOLDS, seed=seed)[codes]


def stratified_folds(groups: np.ndarray, *, seed: int) -> np.ndarray:
    """(N,) folds, to which the clips of each group are dealt in random order."""
    drawn = np.random.default_rng(derive_seed(seed, "probe folds")).permutation(len(groups))
    order = drawn[np.argsort(groups[drawn], kind="stable")]
    folds = np.empty(len(groups), np.int64)
    folds[order] = np.concatenate([np.arange(size) % FOLDS for size in np.bincount(groups)])
    return folds


def _values(name: str, data: Dataset, clips: Mapping[str, Clip], seconds: np.ndarray) -> list[str | None]:
    """The target's value for each clip; numbers in bins where they are many."""
    if name == SPEAKER:
        return [clips[id].speaker or None for id in data.ids]
    if name == DURATION and not any(DURATION in clips[id].labels for id in data.ids):
        return _bins(seconds, "{:.2f} s")
    values = [clips[id].labels.get(name, "").strip() or None for id in data.ids]
    if len({*values} - {None}) <= (BINS if name.casefold() in AGE_COLUMNS else MAX_NUMBERS):
        return values
    try:
        return _bins(np.array([np.nan if value is None else float(value) for value in values]), "{:g}")
    except ValueError:
        return values  # not numbers


def _bins(numbers: np.ndarray, form: str) -> list[str | None]:
    """Bin of each number; bins hold roughly equally many clips."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return [None] * len(numbers)
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))
    ends = [form.format(edge) for edge in edges]
    names = [f"up to {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"over {ends[-1]}"]
    bins = np.searchsorted(edges, numbers)
    return [None if np.isnan(number) else names[bin] for number, bin in zip(numbers, bins, strict=True)]


def number_classes(
    values: Sequence[str | None], folds: np.ndarray, *, most: int = MAX_CLASSES
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (N,) indices of the `most` largest classes, of those that are in more than one fold."""
    column = np.array([value or "" for value in values])
    names, sizes = np.unique(column[column != ""], return_counts=True)
    trainable = [len(np.unique(folds[column == name])) > 1 for name in names]
    largest = [index for index in np.argsort(-sizes, kind="stable") if trainable[index]][:most]
    classes = sorted(names[largest].tolist())
    index_of = {name: index for index, name in enumerate(classes)}
    return tuple(classes), np.array([index_of.get(value, -1) for value in column.tolist()], np.int64)


def _reason(name: str, values: Sequence[str | None], data: Dataset) -> str:
    """Why a target has fewer than two classes."""
    known = {value for value in values if value is not None}
    if not known:
        return "the table has no values for it"
    if len(known) < MIN_CLASSES:
        return f"it is always '{min(known)}'"
    if name == SPEAKER:
        return "fewer than two speakers have two clips"
    if data.speakers is None:
        return "too few clips"
    return "fewer than two of its values have speakers in several folds"
