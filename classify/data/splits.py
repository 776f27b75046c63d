"""Outer folds, which score, and inner folds, which select; speaker-disjoint unless the split is `random`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import CORPUS_SPLIT
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds, stratified_folds
from layerprobe.classify.data.split_checks import (
    check_clips,
    check_nesting,
    check_speakers,
    check_test_parts,
    check_training_part,
    speakers_of,
)

Assignment = Sequence[tuple[Sequence[str], Sequence[str]]]  # for each fold the ids of (training, test) clips

PARTITIONS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Fold:
    """Disjoint row numbers: `train` is fitted on, `test` is predicted."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class OuterFold:
    """One outer fold and the inner folds of its training partition, as rows of the complete data set."""

    outer: Fold
    inner: tuple[Fold, ...]


def outer_folds(data: Dataset, *, split: str, folds: int, inner_folds: int, seed: int) -> list[OuterFold]:
    """The nested folds of a study, deterministic for equal arguments.

    split: one of `config.SPLITS`. Inner folds are speaker-disjoint for every split except `random`. Raises
    InputError, naming the class or speaker, for data that cannot be split that way.
    """
    if split in ("column", CORPUS_SPLIT):  # `cross_corpus.corpus_folds` has set the clips' `split` by corpus
        return [_column(data, inner_folds=inner_folds, seed=seed)]
    if split == "random":
        outer = _partition(data, np.arange(len(data)), folds, grouped=False, seed=seed, what="--folds")
    elif split == "loso":
        check_nesting(data)
        speakers = speakers_of(data)
        outer = [np.flatnonzero(speakers == s) for s in range(len(data.speaker_names))]
    else:
        check_nesting(data)
        outer = _partition(data, np.arange(len(data)), folds, grouped=True, seed=seed, what="--folds")
        check_test_parts(data, outer)
    nested = []
    for number, test in enumerate(outer):
        train = np.setdiff1d(np.arange(len(data)), test)
        where = f"outer fold {number}"
        check_training_part(data, train, where=where)
        grouped = split != "random"
        inner = _inner(data, train, inner_folds, grouped=grouped, seed=seed + 1 + number, where=where)
        nested.append(OuterFold(Fold(train, test), inner))
    return nested


def fixed_folds(
    data: Dataset,
    assignment: Assignment,
    *,
    grouped: bool,
    inner_folds: int,
    seed: int,
    validation: Sequence[Sequence[str]] = (),
) -> list[OuterFold]:
    """Outer folds from clip ids, and inner folds of each training partition.

    Ids that are not in `data` are skipped. grouped: whether inner folds are speaker-disjoint. validation: for
    each fold, training clips that select instead of inner folds. Raises InputError as `outer_folds` does.
    """
    row_of = {id: row for row, id in enumerate(data.ids)}
    nested = []
    for number, fold in enumerate(assignment):
        train, test = (np.array(sorted(row_of[id] for id in ids if id in row_of), np.int64) for ids in fold)
        where = f"outer fold {number}"
        if not len(test):
            raise InputError("no test clip can be used", where=where, do="embed its clips again")
        check_training_part(data, train, where=where)
        aside = set(validation[number]) if validation else set()
        chosen = np.array([row for row in train if data.ids[row] in aside], np.int64)
        if len(chosen):
            inner: tuple[Fold, ...] = (Fold(np.setdiff1d(train, chosen), chosen),)
            check_training_part(data, inner[0].train, where=f"{where} without its validation clips")
        else:
            inner = _inner(data, train, inner_folds, grouped=grouped, seed=seed + 1 + number, where=where)
        nested.append(OuterFold(Fold(train, test), inner))
    return nested


def selection_folds(data: Dataset, *, grouped: bool, inner_folds: int, seed: int) -> tuple[Fold, ...]:
    """Folds of all clips that select the parameters of a final fit, as inner folds do for an outer fold."""
    rows = np.arange(len(data))
    return _inner(data, rows, inner_folds, grouped=grouped, seed=seed, where="all clips")


def shared_speakers(data: Dataset, folds: list[OuterFold]) -> float | None:
    """The share of test clips whose speaker is also trained on in that fold; None without speakers."""
    if data.speakers is None:
        return None
    known = [np.isin(data.speakers[f.outer.test], data.speakers[f.outer.train]) for f in folds]
    return float(np.concatenate(known).mean())


def _partition(
    data: Dataset, rows: np.ndarray, folds: int, *, grouped: bool, seed: int, what: str
) -> list[np.ndarray]:
    """`rows` in `folds` stratified partitions; speaker-disjoint if `grouped`. what: option, for errors."""
    check_clips(data, rows, folds, what=what)
    if not grouped:
        fold_of = stratified_folds(data.strata[rows], folds, seed=seed)
    else:
        names, code = np.unique(speakers_of(data)[rows], return_inverse=True)
        place = "" if len(rows) == len(data) else " in the training partition of an outer fold"
        check_speakers(len(names), folds, what=f"{what} {folds}", place=place)
        fold_of = balanced_group_folds(data.balance[rows], code, folds=folds, seed=seed)[code]
    return [rows[fold_of == fold] for fold in range(folds)]


def _inner(
    data: Dataset, train: np.ndarray, folds: int, *, grouped: bool, seed: int, where: str
) -> tuple[Fold, ...]:
    grouped = grouped and data.speakers is not None
    tests = _partition(data, train, folds, grouped=grouped, seed=seed, what="--inner-folds")
    inner = tuple(Fold(np.setdiff1d(train, test), test) for test in tests)
    for fold in inner:
        check_training_part(data, fold.train, where=f"an inner fold of {where}")
    return inner


def _column(data: Dataset, *, inner_folds: int, seed: int) -> OuterFold:
    unknown = sorted({name for name in data.partitions if name and name.lower() not in PARTITIONS})
    if unknown:
        raise InputError(f"split '{unknown[0]}' is not known", do="write train, validation or test")
    partition = np.array([PARTITIONS.get(name.lower(), "") for name in data.partitions])
    rows = {name: np.flatnonzero(partition == name) for name in ("train", "validation", "test")}
    for name in ("train", "test"):
        if not len(rows[name]):
            raise InputError(f"--split column, but no clip's split is '{name}'", do="fill the split column")
    if np.any(partition == ""):
        first = data.ids[int(np.flatnonzero(partition == "")[0])]
        raise InputError(f"--split column, but {first} has no split", do="fill it, or drop the clip")
    train = np.sort(np.concatenate([rows["train"], rows["validation"]]))
    check_training_part(data, train, where="the training partition")
    if len(rows["validation"]):
        check_training_part(data, rows["train"], where="the clips marked train")
        inner: tuple[Fold, ...] = (Fold(rows["train"], rows["validation"]),)
    else:
        inner = _inner(data, train, inner_folds, grouped=True, seed=seed + 1, where="the training partition")
    return OuterFold(Fold(train, rows["test"]), inner)
