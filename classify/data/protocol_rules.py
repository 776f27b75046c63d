"""The rules by which protocols split clips, written out so that no library's version can change them.

`numpy.random.RandomState` is used for its stream of numbers, which is frozen (NEP 19).
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

SamePerson = tuple[tuple[str, ...], ...]  # speakers who are one person under several names


class Rule(Protocol):
    """A rule tells in words what it does, and gives for each fold (N,) which clips it tests."""

    @property
    def description(self) -> str: ...

    @property
    def speaker_disjoint(self) -> bool:
        """Whether no speaker is in training and test at once."""
        ...

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        """Raises InputError for clips without what the rule goes by."""
        ...


@dataclass(frozen=True, kw_only=True)
class SpeakerGroups:
    """Groups of speakers with about the same number of clips."""

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
        voices = _voices(clips, self.same_person)
        sizes = Counter(voices)
        if len(sizes) < self.folds:
            raise InputError(f"{len(sizes)} speakers cannot be parted into {self.folds} folds")
        load = [0] * self.folds
        fold_of = {}
        for voice in sorted(sizes, key=lambda voice: (-sizes[voice], voice)):
            fold_of[voice] = load.index(min(load))
            load[fold_of[voice]] += sizes[voice]
        fold = np.array([fold_of[voice] for voice in voices])
        return [fold == number for number in range(self.folds)]


@dataclass(frozen=True, kw_only=True)
class LeaveOneSpeakerOut:
    """Each speaker in turn is tested."""

    speaker_disjoint: ClassVar[bool] = True

    @property
    def description(self) -> str:
        return "a fold for each speaker, in the order of their names"

    def test_masks(self, clips: Sequence[Clip], target: str) -> list[np.ndarray]:
        voices = np.array(_voices(clips, ()))
        names = np.unique(voices)
        if len(names) < 2:
            raise InputError("there is only 1 speaker, who cannot be trained on and tested")
        return [voices == name for name in names]


@dataclass(frozen=True, kw_only=True)
class StratifiedHoldout:
    """One test part drawn at random, with its share of every class."""

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


def corpus_path(clip: Clip) -> tuple[str, str]:
    """Folder and file name: the same wherever the corpus lies and whatever the table calls a clip."""
    return clip.path.parent.name, clip.path.name


def stratified_holdout(labels: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """The places, ascending, that scikit-learn's stratified `train_test_split` tests.

    It must use random numbers in the same order: lots for the training and for the test part's class sizes,
    then a shuffle of each class, of which training takes the first and the test part the next.
    """
    random = np.random.RandomState(seed)
    y = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(y)
    tests = math.ceil(share * len(y))
    trained = _apportion(sizes, len(y) - tests, random)
    tested = _apportion(sizes - trained, tests, random)
    places = []
    for number, size in enumerate(sizes):
        shuffled = np.flatnonzero(y == number)[random.permutation(size)]
        places.append(shuffled[trained[number] : trained[number] + tested[number]])
    return np.sort(np.concatenate(places))


def _apportion(sizes: np.ndarray, total: int, random: np.random.RandomState) -> np.ndarray:
    """Divide `total` among classes by their sizes; the largest remainders are rounded up, ties by lot."""
    exact = sizes / sizes.sum() * total
    given = np.floor(exact)
    left = int(total - given.sum())
    remainder = exact - given
    for value in np.unique(remainder)[::-1]:
        if left == 0:
            break
        tied = np.flatnonzero(remainder == value)
        rounded_up = random.choice(tied, size=min(len(tied), left), replace=False)
        given[rounded_up] += 1
        left -= len(rounded_up)
    return given.astype(np.int64)


def _voices(clips: Sequence[Clip], same_person: SamePerson) -> list[str]:
    nobody = next((clip.id for clip in clips if not clip.speaker), None)
    if nobody is not None:
        raise InputError(
            f"{nobody} has no speaker, by which the split goes",
            do="add a speaker column, or make the table with `manifest`",
        )
    same = {name: names[0] for names in same_person for name in names}
    return [same.get(clip.speaker or "", clip.speaker or "") for clip in clips]
