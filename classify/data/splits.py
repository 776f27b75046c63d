"""Outer folds, which score, and inner folds, which select; speaker-disjoint unless the split is `random`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.config import CORPUS_SPLIT
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds, stratified_folds

Assignment = Sequence[tuple[Sequence[str], Sequence[str]]]  # for each fold the ids of (training, test) clips

PARTITIONS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}

FEWEST_SPEAKERS = 3  # of nested folds: one to test, one to choose by, one to train on
LEAVE_OUT = "leave the class out (empty its labels)"


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
        _enough_for_nesting(data)
        speakers = _speakers(data)
        outer = [np.flatnonzero(speakers == s) for s in range(len(data.speaker_names))]
    else:
        _enough_for_nesting(data)
        outer = _partition(data, np.arange(len(data)), folds, grouped=True, seed=seed, what="--folds")
        _every_class_tested(data, outer)
    nested = []
    for number, test in enumerate(outer):
        train = np.setdiff1d(np.arange(len(data)), test)
        where = f"outer fold {number}"
        _every_class_trained(data, train, where=where)
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
        _every_class_trained(data, train, where=where)
        aside = set(validation[number]) if validation else set()
        chosen = np.array([row for row in train if data.ids[row] in aside], np.int64)
        if len(chosen):
            inner: tuple[Fold, ...] = (Fold(np.setdiff1d(train, chosen), chosen),)
            _every_class_trained(data, inner[0].train, where=f"{where} without its validation clips")
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
    _enough_clips(data, rows, folds, what=what)
    if not grouped:
        fold_of = stratified_folds(data.strata[rows], folds, seed=seed)
    else:
        names, code = np.unique(_speakers(data)[rows], return_inverse=True)
        place = "" if len(rows) == len(data) else " in the training partition of an outer fold"
        _enough_speakers(len(names), folds, what=f"{what} {folds}", place=place)
        fold_of = balanced_group_folds(data.balance[rows], code, folds=folds, seed=seed)[code]
    return [rows[fold_of == fold] for fold in range(folds)]


def _inner(
    data: Dataset, train: np.ndarray, folds: int, *, grouped: bool, seed: int, where: str
) -> tuple[Fold, ...]:
    grouped = grouped and data.speakers is not None
    tests = _partition(data, train, folds, grouped=grouped, seed=seed, what="--inner-folds")
    inner = tuple(Fold(np.setdiff1d(train, test), test) for test in tests)
    for fold in inner:
        _every_class_trained(data, fold.train, where=f"an inner fold of {where}")
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
    _every_class_trained(data, train, where="the training partition")
    if len(rows["validation"]):
        _every_class_trained(data, rows["train"], where="the clips marked train")
        inner: tuple[Fold, ...] = (Fold(rows["train"], rows["validation"]),)
    else:
        inner = _inner(data, train, inner_folds, grouped=True, seed=seed + 1, where="the training partition")
    return OuterFold(Fold(train, rows["test"]), inner)


def _speakers(data: Dataset) -> np.ndarray:
    if data.speakers is None:
        raise InputError(
            "the table names no speakers, so folds cannot be speaker-disjoint",
            do="name their column with --speaker-column; --split random scores known speakers only",
        )
    return data.speakers


def _enough_for_nesting(data: Dataset) -> None:
    _speakers(data)
    count = len(data.speaker_names)
    if count < FEWEST_SPEAKERS:
        raise InputError(
            f"speaker-disjoint nested folds require {FEWEST_SPEAKERS} speakers, and the table names {count}",
            do="add some, or give --speaker-column; --split random scores known speakers only",
        )


def _enough_speakers(speakers: int, folds: int, *, what: str, place: str) -> None:
    if speakers < folds:
        do = f"give {speakers} folds or fewer"
        if speakers < 2:
            do = "add speakers, or give more outer folds, each of which then trains on more of them"
        count = format_count(speakers, "speaker")
        raise InputError(f"{what}, but there {'is' if speakers == 1 else 'are'} {count}{place}", do=do)


def _enough_clips(data: Dataset, rows: np.ndarray, folds: int, *, what: str) -> None:
    if not data.classes and len(rows) < folds:
        raise InputError(f"{what} {folds}, but there are {len(rows)} clips", do="label more, or give fewer")
    counts = data.members[rows].sum(0)
    rare = [label for label in np.argsort(counts, kind="stable").tolist() if counts[label] < folds]
    if rare:
        place = "" if len(rows) == len(data) else " in the training partition of an outer fold"
        fewer = f", label more of it, or give fewer {what}" if folds > 2 else " or label more of it"
        raise InputError(
            f"class '{data.classes[rare[0]]}' has too few clips ({counts[rare[0]]}{place}) for {folds} folds"
            f"{_likewise(data, rare[1:])}",
            do=f"{LEAVE_OUT}{fewer}",
        )


def _every_class_trained(data: Dataset, rows: np.ndarray, *, where: str) -> None:
    absent, always = np.flatnonzero(~data.members[rows].any(0)), np.flatnonzero(data.members[rows].all(0))
    if len(always):
        what = f"every training clip has the label '{data.classes[int(always[0])]}'"
        raise InputError(what, where=where, do="leave the label out, or add speakers without it")
    if not data.classes and len(np.unique(data.y[rows])) < 2:
        what = "the training clips have fewer than two different numbers"
        raise InputError(what, where=where, do="label more clips, or give other folds")
    if len(absent):
        name = data.classes[int(absent[0])]
        raise InputError(
            f"class '{name}' is missing from the training clips ({_support(data, int(absent[0]))})",
            where=where,
            do=f"{LEAVE_OUT}, add speakers of it, give other folds, or try --split random",
        )


def _every_class_tested(data: Dataset, outer: list[np.ndarray]) -> None:
    speakers = [len(np.unique(_speakers(data)[rows])) for rows in data.members.T]
    rare = [label for label in np.argsort(speakers, kind="stable").tolist() if speakers[label] < len(outer)]
    if rare:
        # With two, one is tested and the other trained on, which leaves none for inner folds.
        fewer = f"give {speakers[rare[0]]} --folds" if speakers[rare[0]] > 2 else "try --split random"
        raise InputError(
            f"class '{data.classes[rare[0]]}' has too few speakers ({_support(data, rare[0])}) for "
            f"{len(outer)} folds without shared speakers{_likewise(data, rare[1:])}",
            do=f"{LEAVE_OUT}, add speakers of it, or {fewer}",
        )
    for number, rows in enumerate(outer):
        absent = np.flatnonzero(~data.members[rows].any(0))
        if len(absent):
            name = data.classes[int(absent[0])]
            raise InputError(
                f"class '{name}' is missing from the test clips ({_support(data, int(absent[0]))})",
                where=f"outer fold {number}",
                do=f"{LEAVE_OUT}, add speakers of it, or give fewer --folds",
            )


def _support(data: Dataset, label: int) -> str:
    """The clips and speakers of a class, as text."""
    rows = data.members[:, label]
    clips = int(rows.sum())
    if data.speakers is None:
        return format_count(clips, "clip")
    names = [data.speaker_names[number] for number in np.unique(data.speakers[rows])]
    return f"{format_count(clips, 'clip')} of {format_count(len(names), 'speaker')}: {format_list(names)}"


def _likewise(data: Dataset, labels: Sequence[int]) -> str:
    """The end of a message that applies to other classes too."""
    names = format_list([f"'{data.classes[label]}'" for label in labels])
    return f", and so {'has' if len(labels) == 1 else 'have'} {names}" if labels else ""
