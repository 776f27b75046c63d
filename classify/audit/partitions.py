"""Which clips are trained on and which are tested, and what of the test part training has already met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from layerprobe.classify.data.splits import PARTS
from layerprobe.embed.manifest.clips import Clip

Assignment = Sequence[tuple[Sequence[str], Sequence[str]]]  # per fold the ids of (training, test) clips


@dataclass(frozen=True)
class Seen:
    """Of test clips over all folds: how many there are, and which (row numbers, once each) have been met."""

    tested: int
    met: int
    rows: np.ndarray

    @property
    def share(self) -> float:
        return self.met / self.tested if self.tested else 0.0


@dataclass(frozen=True)
class Parts:
    """Per fold the row numbers of its training and its test clips, in a table of `clips` rows."""

    clips: int
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, clips: Sequence[Clip], assignment: Assignment | None) -> Parts | None:
        """From ids, or where none are given from the table's own split; None where that says nothing.

        The clips marked as validation are part of training. Ids that are not in the table are passed over.
        """
        row_of = {clip.id: row for row, clip in enumerate(clips)}
        if assignment is None:
            marked = [PARTS.get((clip.split or "").strip().lower(), "") for clip in clips]
            train = [row for row, part in enumerate(marked) if part in ("train", "validation")]
            test = [row for row, part in enumerate(marked) if part == "test"]
            return cls(len(clips), ((np.array(train), np.array(test)),)) if train and test else None

        def rows(ids: Sequence[str]) -> np.ndarray:
            return np.array([row_of[id] for id in ids if id in row_of], np.int64)

        return cls(len(clips), tuple((rows(train), rows(test)) for train, test in assignment))

    def seen(self, groups: np.ndarray) -> Seen:
        """Test clips of whose group a clip is in training. groups: (N,) numbers, negative for no group."""
        tested, met = 0, []
        for train, test in self.folds:
            known = np.isin(groups[test], groups[train]) & (groups[test] >= 0)
            tested += len(test)
            met.append(test[known])
        rows = np.concatenate(met) if met else np.empty(0, np.int64)
        return Seen(tested, len(rows), np.unique(rows))


def seen_at_random(groups: np.ndarray, *, share: float = 0.2) -> float:
    """What share of test clips a random split would be expected to meet in training; exact.

    groups: (N,) numbers, negative for no group. share: of the clips that are tested. A test clip of a group
    of g is not met where the other g - 1 are tested too: C(t - 1, g - 1) / C(N - 1, g - 1) for t tests of N.
    """
    clips = len(groups)
    tests = round(clips * share)
    if tests == 0:
        return 0.0
    sizes = np.unique(groups[groups >= 0], return_counts=True)[1]
    others = sizes[sizes <= tests] - 1
    alone = np.exp(
        gammaln(tests) - gammaln(tests - others) - gammaln(clips) + gammaln(clips - others)
    )  # the binomials' common factor cancels
    return float((sizes.sum() - (sizes[sizes <= tests] * alone).sum()) / clips)


def numbered(values: Sequence[object | None]) -> np.ndarray:
    """(N,) a number for each different value, -1 for None."""
    order = {value: number for number, value in enumerate(dict.fromkeys(v for v in values if v is not None))}
    return np.array([-1 if value is None else order[value] for value in values], np.int64)
