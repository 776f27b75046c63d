"""Outer folds that score and inner folds that choose; speaker-disjoint unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.config import CORPUS_SPLIT
from layerprobe.classify.data.dataset import Dataset
from layerprobe.classify.data.group_folds import balanced_group_folds

Assignment = Sequence[tuple[Sequence[str], Sequence[str]]]  # per fold the ids of (training, test) clips

PARTITIONS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}

LEAVE_OUT = "leave the class out (empty its labels)"


@dataclass(frozen=True)
class Fold:
    """Row numbers: `train` is fitted on, `test` is predicted; they share no row."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class OuterFold:
    """One outer fold and the inner folds of its training part (row numbers of the whole data set)."""

    outer: Fold
    inner: tuple[Fold, ...]


def outer_folds(data: Dataset, *, split: str, folds: int, inner_folds: int, seed: int) -> list[OuterFold]:
    """The nested folds of a study; the same arguments give the same folds on every machine.

    Inner folds are speaker-disjoint wherever the outer ones are meant to be: `random` alone lets both leak.
    Raises InputError, naming class or speaker, for data that cannot be split so.
    """
    if split in ("column", CORPUS_SPLIT):  # `cross.by_corpus` marks the clips of a corpus as the column would
        return [_column(data, inner_folds=inner_folds, seed=seed)]
    if split == "random":
        outer = _partition(data, np.arange(len(data)), folds, grouped=False, seed=seed, what="--folds")
    elif split == "loso":
        speakers = _speakers(data)
        _enough_speakers(len(data.speaker_names), 2, what="--split loso")
        outer = [np.flatnonzero(speakers == s) for s in range(len(data.speaker_names))]
    else:
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
    parts: Sequence[tuple[Sequence[str], Sequence[str]]],
    *,
    grouped: bool,
    inner_folds: int,
    seed: int,
) -> list[OuterFold]:
    """Outer folds that are given as ids of (training, test) clips, and inner folds of each training part.

    Ids that are not in `data`, such as those of clips that cannot be used, are passed over. grouped: whether
    inner folds keep speakers apart. Raises InputError as `outer_folds` does.
    """
    row_of = {id: row for row, id in enumerate(data.ids)}
    nested = []
    for number, part in enumerate(parts):
        train, test = (np.array(sorted(row_of[id] for id in ids if id in row_of), np.int64) for ids in part)
        where = f"outer fold {number}"
        if not len(test):
            raise InputError("no clip of the test part can be used", where=where, do="embed its clips again")
        _every_class_trained(data, train, where=where)
        inner = _inner(data, train, inner_folds, grouped=grouped, seed=seed + 1 + number, where=where)
        nested.append(OuterFold(Fold(train, test), inner))
    return nested


def shared_speakers(data: Dataset, folds: list[OuterFold]) -> float | None:
    """The share of test clips whose speaker is in that fold's training part; None without speakers."""
    if data.speakers is None:
        return None
    known = [np.isin(data.speakers[f.outer.test], data.speakers[f.outer.train]) for f in folds]
    return float(np.concatenate(known).mean())


def _partition(
    data: Dataset, rows: np.ndarray, folds: int, *, grouped: bool, seed: int, what: str
) -> list[np.ndarray]:
    """`folds` disjoint parts of `rows`, each with its share of every class."""
    y = data.y[rows]
    _enough_clips(data, y, folds, what=what)
    if not grouped:
        fold_of = stratified_folds(y, folds, seed=seed)
    else:
        names, code = np.unique(_speakers(data)[rows], return_inverse=True)
        _enough_speakers(len(names), folds, what=f"{what} {folds}")
        fold_of = balanced_group_folds(y, code, folds=folds, seed=seed)[code]
    return [rows[fold_of == fold] for fold in range(folds)]


def _inner(
    data: Dataset, train: np.ndarray, folds: int, *, grouped: bool, seed: int, where: str
) -> tuple[Fold, ...]:
    grouped = grouped and data.speakers is not None
    parts = _partition(data, train, folds, grouped=grouped, seed=seed, what="--inner-folds")
    inner = tuple(Fold(np.setdiff1d(train, part), part) for part in parts)
    for fold in inner:
        _every_class_trained(data, fold.train, where=f"an inner fold of {where}")
    return inner


def _column(data: Dataset, *, inner_folds: int, seed: int) -> OuterFold:
    odd = sorted({part for part in data.parts if part and part.lower() not in PARTITIONS})
    if odd:
        raise InputError(f"split '{odd[0]}' is not known", do="write train, validation or test")
    parts = np.array([PARTITIONS.get(part.lower(), "") for part in data.parts])
    rows = {name: np.flatnonzero(parts == name) for name in ("train", "validation", "test")}
    for name in ("train", "test"):
        if not len(rows[name]):
            raise InputError(f"--split column, but no clip's split is '{name}'", do="fill the split column")
    if np.any(parts == ""):
        first = data.ids[int(np.flatnonzero(parts == "")[0])]
        raise InputError(f"--split column, but {first} has no split", do="fill it, or drop the clip")
    train = np.sort(np.concatenate([rows["train"], rows["validation"]]))
    _every_class_trained(data, train, where="the training part")
    if len(rows["validation"]):
        _every_class_trained(data, rows["train"], where="the clips marked train")
        inner: tuple[Fold, ...] = (Fold(rows["train"], rows["validation"]),)
    else:
        inner = _inner(data, train, inner_folds, grouped=True, seed=seed + 1, where="the training part")
    return OuterFold(Fold(train, rows["test"]), inner)


def stratified_folds(y: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """(N,) fold numbers: each class is dealt out in turn, each going on where the last one stopped."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(y))
    dealt = shuffled[np.argsort(y[shuffled], kind="stable")]
    fold_of = np.empty(len(y), np.int64)
    fold_of[dealt] = np.arange(len(y)) % folds
    return fold_of


def _speakers(data: Dataset) -> np.ndarray:
    if data.speakers is None:
        raise InputError(
            "the table names no speakers, so folds cannot be kept apart by speaker",
            do="add a speaker column, or try --split random",
        )
    return data.speakers


def _enough_speakers(speakers: int, folds: int, *, what: str) -> None:
    if speakers == 1:
        raise InputError(f"{what}, but there is only 1 speaker to part", do="try --split random")
    if speakers < folds:
        raise InputError(
            f"{what}, but there are {speakers} speakers to part", do=f"give {speakers} folds or fewer"
        )


def _enough_clips(data: Dataset, y: np.ndarray, folds: int, *, what: str) -> None:
    counts = np.bincount(y, minlength=len(data.classes))
    rare = [label for label in np.argsort(counts, kind="stable").tolist() if counts[label] < folds]
    if rare:
        raise InputError(
            f"class '{data.classes[rare[0]]}' has too few clips ({counts[rare[0]]}) for {folds} folds"
            f"{_and_so(data, rare[1:])}",
            do=f"{LEAVE_OUT}, label more of it, or give fewer {what}",
        )


def _every_class_trained(data: Dataset, rows: np.ndarray, *, where: str) -> None:
    absent = np.setdiff1d(np.arange(len(data.classes)), data.y[rows])
    if len(absent):
        name = data.classes[int(absent[0])]
        raise InputError(
            f"class '{name}' is missing from the training clips ({_voices(data, int(absent[0]))})",
            where=where,
            do=f"{LEAVE_OUT}, add speakers of it, give other folds, or try --split random",
        )


def _every_class_tested(data: Dataset, outer: list[np.ndarray]) -> None:
    voices = [len(np.unique(_speakers(data)[data.y == label])) for label in range(len(data.classes))]
    rare = [label for label in np.argsort(voices, kind="stable").tolist() if voices[label] < len(outer)]
    if rare:
        # Of two speakers one would be tested and the other trained on, and none left to part inside.
        fewer = f"give {voices[rare[0]]} --folds" if voices[rare[0]] > 2 else "try --split random"
        raise InputError(
            f"class '{data.classes[rare[0]]}' has too few speakers ({_voices(data, rare[0])}) for "
            f"{len(outer)} folds that keep speakers apart{_and_so(data, rare[1:])}",
            do=f"{LEAVE_OUT}, add speakers of it, or {fewer}",
        )
    for number, rows in enumerate(outer):
        absent = np.setdiff1d(np.arange(len(data.classes)), data.y[rows])
        if len(absent):
            name = data.classes[int(absent[0])]
            raise InputError(
                f"class '{name}' is missing from the test clips ({_voices(data, int(absent[0]))})",
                where=f"outer fold {number}",
                do=f"{LEAVE_OUT}, add speakers of it, or give fewer --folds",
            )


def _voices(data: Dataset, label: int) -> str:
    clips = int((data.y == label).sum())
    if data.speakers is None:
        return format_count(clips, "clip")
    names = [data.speaker_names[number] for number in np.unique(data.speakers[data.y == label])]
    return f"{format_count(clips, 'clip')} of {format_count(len(names), 'speaker')}: {format_list(names)}"


def _and_so(data: Dataset, labels: Sequence[int]) -> str:
    """Other classes of which the same is to be said."""
    names = format_list([f"'{data.classes[label]}'" for label in labels])
    return f", and so {'has' if len(labels) == 1 else 'have'} {names}" if labels else ""
