"""A table of clips as an audit sees it: classes, speakers, texts and sources as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.dataset import NOT_A_LABEL
from layerprobe.classify.data.splits import PARTITIONS, Assignment
from layerprobe.embed.manifest.clips import Clip

TEXTS = ("text", "word", "sentence", "transcript", "transcription", "utterance")
SOURCES = ("source", "recording", "video", "session", "dialog", "dialogue", "episode")


@dataclass(frozen=True)
class Table:
    """The clips of an audit with their labels, speakers, texts and sources as numbers, -1 where unknown."""

    clips: Sequence[Clip]
    target: str
    classes: tuple[str, ...]
    labels: np.ndarray
    speakers: np.ndarray
    text: str | None
    texts: np.ndarray
    source: str | None
    sources: np.ndarray
    parts: Partitions | None

    @classmethod
    def of(
        cls,
        clips: Sequence[Clip],
        *,
        target: str,
        assignment: Assignment | None = None,
        text: str | None = None,
        source: str | None = None,
    ) -> Table:
        """text, source: columns, found by their usual names unless given. Raises InputError."""
        columns = list(dict.fromkeys(name for clip in clips for name in clip.labels))
        for asked in (target, text, source):
            if asked is not None and asked not in columns:
                raise InputError(
                    f"no column '{asked}' in the table", do=f"choose from {', '.join(columns) or 'none'}"
                )
        text = text or _first(TEXTS, columns, but=target)
        source = source or _first(SOURCES, columns, but=target)
        told = [label(clip, target) for clip in clips]
        classes = tuple(sorted({name for name in told if name is not None}))
        number = {name: k for k, name in enumerate(classes)}
        return cls(
            clips=clips,
            target=target,
            classes=classes,
            labels=np.array([-1 if name is None else number[name] for name in told], np.int64),
            speakers=numbered([clip.speaker or None for clip in clips]),
            text=text,
            texts=numbered([clip.labels.get(text) if text else None for clip in clips]),
            source=source,
            sources=numbered([_source(clip, source) for clip in clips]),
            parts=Partitions.of(clips, assignment),
        )

    def unchecked(self) -> list[str]:
        """What an audit cannot look at, and what the table would need for it."""
        told = []
        if self.text is None:
            told.append(f"texts: no column of what is said ({', '.join(TEXTS)})")
        if not np.any(self.sources >= 0):
            told.append(f"source recordings: no column that names them ({', '.join(SOURCES)})")
        if self.parts is None:
            told.append("training and test parts: the table has no split, and none was given")
        return told

    def ids(self, rows: np.ndarray) -> tuple[str, ...]:
        return tuple(self.clips[row].id for row in rows)


def label(clip: Clip, target: str) -> str | None:
    """The clip's class; None where the table gives none."""
    told = clip.labels.get(target, "").strip()
    return None if told.lower() in NOT_A_LABEL else told


def _source(clip: Clip, column: str | None) -> str | None:
    """What the clip was cut from: what a column says, or for a segment the file itself."""
    if column is not None:
        return clip.labels.get(column)
    return str(clip.path) if clip.start is not None or clip.end is not None else None


def _first(names: Sequence[str], columns: Sequence[str], *, but: str) -> str | None:
    """The first of `names` among the columns, whatever their case, that is not the target."""
    folded = {column.casefold(): column for column in columns if column != but}
    return next((folded[name] for name in names if name in folded), None)


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
class Partitions:
    """Per fold the row numbers of its training and its test clips, in a table of `clips` rows."""

    clips: int
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, clips: Sequence[Clip], assignment: Assignment | None) -> Partitions | None:
        """From ids, or where none are given from the table's own split; None where that says nothing.

        The clips marked as validation are part of training. Ids that are not in the table are passed over.
        """
        row_of = {clip.id: row for row, clip in enumerate(clips)}
        if assignment is None:
            marked = [PARTITIONS.get((clip.split or "").strip().lower(), "") for clip in clips]
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
