"""Rules by which protocols split clips, implemented here so that no library version can change them.

They use `numpy.random.RandomState`, whose stream of numbers is frozen (NEP 19).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.clips import Clip

SamePerson = tuple[tuple[str, ...], ...]  # speaker names that belong to one person


class Rule(Protocol):
    """Splits clips into folds; `description` says how."""

    @property
    def description(self) -> str: ...

    @property
    def speaker_disjoint(self) -> bool:
        """Whether no speaker is in both training and test."""
        ...

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        """(N,) booleans for each fold: its test clips. Raises InputError if clips lack what it needs."""
        ...

    def unused(self, clips: Sequence[Clip]) -> np.ndarray:
        """(N,) booleans: clips that no fold trains on or tests."""
        ...


class _AllClips:
    """A rule that uses every clip."""

    def unused(self, clips: Sequence[Clip]) -> np.ndarray:
        return np.zeros(len(clips), bool)


@dataclass(frozen=True, kw_only=True)
class SpeakerGroups(_AllClips):
    """Groups of speakers with about the same number of clips; speakers of `same_person` stay together."""

    folds: int
    same_person: SamePerson = ()
    speaker_disjoint: ClassVar[bool] = True

    @property
    def description(self) -> str:
        return (
            f"{self.folds} folds; speakers, those with most clips first and by name among equals, each go to "
            "the fold with the fewest clips so far"
        )

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        persons = _persons(clips, self.same_person)
        sizes = Counter(persons)
        if len(sizes) < self.folds:
            raise InputError(f"{len(sizes)} speakers cannot be split into {self.folds} folds")
        load = [0] * self.folds
        fold_of = {}
        for person in sorted(sizes, key=lambda person: (-sizes[person], person)):
            fold_of[person] = load.index(min(load))
            load[fold_of[person]] += sizes[person]
        fold = np.array([fold_of[person] for person in persons])
        return [fold == number for number in range(self.folds)]


@dataclass(frozen=True, kw_only=True)
class LeaveOneSpeakerOut(_AllClips):
    """One fold per speaker."""

    speaker_disjoint: ClassVar[bool] = True

    @property
    def description(self) -> str:
        return "a fold for each speaker, in the order of their names"

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        persons = np.array(_persons(clips, ()))
        names = np.unique(persons)
        if len(names) < 2:
            raise InputError("there is only 1 speaker, who cannot be trained on and tested")
        return [persons == name for name in names]


@dataclass(frozen=True, kw_only=True)
class StratifiedHoldout(_AllClips):
    """One random test partition, stratified by class."""

    share: float
    seed: int
    speaker_disjoint: ClassVar[bool] = False

    @property
    def description(self) -> str:
        return (
            f"scikit-learn's train_test_split(test_size={self.share:g}, random_state={self.seed}, stratify) "
            "on the clips sorted by folder and file name"
        )

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        unlabelled = next((clip.id for clip in clips if not clip.labels.get(target)), None)
        if unlabelled is not None:
            raise InputError(f"{unlabelled} has no '{target}', by which the split is stratified")
        order = np.array(sorted(range(len(clips)), key=lambda row: corpus_path(clips[row])))
        labels = np.array([clips[row].labels[target] for row in order])
        tested = np.zeros(len(clips), bool)
        tested[order[stratified_holdout(labels, share=self.share, seed=self.seed)]] = True
        return [tested]


@dataclass(frozen=True, kw_only=True)
class LeaveOneGroupOut(_AllClips):
    """One fold per value of a label, such as the session; groups with speakers of their own."""

    label: str
    speaker_disjoint: ClassVar[bool] = True

    @property
    def description(self) -> str:
        return f"a fold for each {self.label}, in the order of their names"

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        groups = np.array(_texts(clips, self.label))
        names = np.unique(groups)
        if len(names) < 2:
            raise InputError(f"there is only 1 {self.label}, which cannot be trained on and tested")
        return [groups == name for name in names]


@dataclass(frozen=True, kw_only=True)
class NamedSpeakers(_AllClips):
    """Folds whose test speakers are listed."""

    folds: tuple[tuple[str, ...], ...]
    speaker_disjoint: ClassVar[bool] = True

    @property
    def description(self) -> str:
        return "test speakers of each fold: " + "; ".join(" ".join(fold) for fold in self.folds)

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        persons = np.array(_persons(clips, ()))
        unknown = sorted(set(persons.tolist()) - {name for fold in self.folds for name in fold})
        if unknown:
            what = f"speaker '{unknown[0]}' is in none of the protocol's folds"
            raise InputError(what, do=_MANIFEST)
        masks = [np.isin(persons, fold) for fold in self.folds]
        empty = [number for number, mask in enumerate(masks) if not mask.any()]
        if empty:
            names = " ".join(self.folds[empty[0]])
            raise InputError(f"no clip is of the speakers that fold {empty[0]} tests ({names})")
        return masks


@dataclass(frozen=True, kw_only=True)
class OwnPartitions:
    """The corpus's own partitions, by a label or (label "") by the column `split`."""

    label: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    speaker_disjoint: bool

    @property
    def description(self) -> str:
        return f"trained on {' and '.join(self.train)}, tested on {' and '.join(self.test)}"

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        parts = np.array(self._parts(clips))
        for names in (self.train, self.test):
            if not np.isin(parts, names).any():
                raise InputError(f"no clip is in partition {' or '.join(names)}", do=_MANIFEST)
        return [np.isin(parts, self.test)]

    def unused(self, clips: Sequence[Clip]) -> np.ndarray:
        return ~np.isin(np.array(self._parts(clips)), (*self.train, *self.test))

    def _parts(self, clips: Sequence[Clip]) -> list[str]:
        return _texts(clips, self.label) if self.label else [clip.split or "" for clip in clips]


def corpus_path(clip: Clip) -> tuple[str, str]:
    """Folder and file name, which are the same wherever the corpus is stored."""
    return clip.path.parent.name, clip.path.name


def stratified_holdout(labels: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Indices, ascending, of the test clips of scikit-learn's stratified `train_test_split`.

    Uses random numbers in the same order: draws for the class sizes of training and of test, then a shuffle
    of each class, whose first clips are trained on and the next tested.
    """
    random = np.random.RandomState(seed)
    y = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(y)
    tests = math.ceil(share * len(y))
    trained = _apportion(sizes, len(y) - tests, random)
    tested = _apportion(sizes - trained, tests, random)
    chosen = []
    for number, size in enumerate(sizes):
        shuffled = np.flatnonzero(y == number)[random.permutation(size)]
        chosen.append(shuffled[trained[number] : trained[number] + tested[number]])
    return np.sort(np.concatenate(chosen))


def _apportion(sizes: np.ndarray, total: int, random: np.random.RandomState) -> np.ndarray:
    """Divide `total` among classes by their sizes; the largest remainders are rounded up, ties at random."""
    exact = sizes / sizes.sum() * total
    counts = np.floor(exact)
    left = int(total - counts.sum())
    remainder = exact - counts
    for value in np.unique(remainder)[::-1]:
        if left == 0:
            break
        tied = np.flatnonzero(remainder == value)
        rounded_up = random.choice(tied, size=min(len(tied), left), replace=False)
        counts[rounded_up] += 1
        left -= len(rounded_up)
    return counts.astype(np.int64)


_MANIFEST = "make the table with `manifest`"


def _texts(clips: Sequence[Clip], label: str) -> list[str]:
    missing = next((clip.id for clip in clips if not clip.labels.get(label)), None)
    if missing is not None:
        raise InputError(f"{missing} has no '{label}', by which the protocol splits", do=_MANIFEST)
    return [clip.labels[label] for clip in clips]


def _persons(clips: Sequence[Clip], same_person: SamePerson) -> list[str]:
    unnamed = next((clip.id for clip in clips if not clip.speaker), None)
    if unnamed is not None:
        raise InputError(
            f"{unnamed} has no speaker, which the split requires",
            do="add a speaker column, or make the table with `manifest`",
        )
    same = {name: names[0] for names in same_person for name in names}
    return [same.get(clip.speaker or "", clip.speaker or "") for clip in clips]
