"""Input and output of every audit check: a table of clips as integer codes, its partitions, and a finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from scipy.stats import hypergeom

from layerprobe.classify.data.spellings import unknown_column
from layerprobe.classify.data.splits import PARTITIONS, Assignment
from layerprobe.classify.tasks.regression import is_measured, parts
from layerprobe.embed.manifest.clips import Clip

TEXT_COLUMNS = ("text", "word", "sentence", "transcript", "transcription", "utterance")
SOURCE_COLUMNS = ("source", "recording", "video", "session", "dialog", "dialogue", "episode")

Verdict = Literal["fine", "look", "leak"]
SEVERITY: tuple[Verdict, ...] = get_args(Verdict)  # mildest first


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    item: name of the check, the same in every audit. verdict: `fine`; `look`, the user should decide; `leak`,
    training contains what should be new in a test clip. message: what was found, what it means, what to do.
    numbers: what the verdict rests on. evidence: one line for each clip, copy or speaker concerned, complete.
    """

    item: str
    verdict: Verdict
    message: str
    numbers: dict[str, float] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Clips of an audit. labels, speakers, texts, sources: (N,) integer codes, -1 where unknown.

    labels index `classes`, which are groups of clips where labels are measured numbers. text: the column
    behind `texts`, None where there is none.
    """

    clips: Sequence[Clip]
    target: str
    classes: tuple[str, ...]
    labels: np.ndarray
    speakers: np.ndarray
    text: str | None
    texts: np.ndarray
    sources: np.ndarray
    partitions: Partitions | None

    @classmethod
    def from_clips(
        cls,
        clips: Sequence[Clip],
        *,
        target: str,
        assignment: Assignment | None = None,
        text: str | None = None,
        source: str | None = None,
    ) -> Table:
        """text, source: columns, None for their usual names. Raises InputError for an unknown column."""
        columns, clips = label_columns(clips), group_numbers(clips, target)
        for name in (target, text, source):
            if name is not None and name not in columns:
                raise unknown_column(name, columns)
        text = text or find_column(TEXT_COLUMNS, columns, exclude=target)
        source = source or find_column(SOURCE_COLUMNS, columns, exclude=target)
        labels = [_label(clip, target) for clip in clips]
        classes = tuple(sorted({label for label in labels if label is not None}))
        code_of: dict[str | None, int] = {None: -1, **{name: code for code, name in enumerate(classes)}}
        return cls(
            clips=clips,
            target=target,
            classes=classes,
            labels=np.array([code_of[label] for label in labels], np.int64),
            speakers=encode([clip.speaker or None for clip in clips]),
            text=text,
            texts=encode([_label(clip, text) if text else None for clip in clips]),
            sources=encode([_source(clip, source) for clip in clips]),
            partitions=Partitions.from_clips(clips, assignment),
        )

    def unchecked(self) -> list[str]:
        """What cannot be checked, and what the table lacks for it."""
        lines = []
        if self.text is None:
            lines.append(f"texts: no column with the spoken text ({', '.join(TEXT_COLUMNS)})")
        if not np.any(self.sources >= 0):
            lines.append(f"source recordings: no column that names them ({', '.join(SOURCE_COLUMNS)})")
        if self.partitions is None:
            lines.append(
                "training and test partitions: the table has no split column, and no splits were passed"
            )
        return lines

    def ids(self, rows: np.ndarray) -> tuple[str, ...]:
        return tuple(self.clips[row].id for row in rows)


def group_numbers(clips: Sequence[Clip], target: str) -> Sequence[Clip]:
    """The clips; if the target's labels are measured, with groups of low to high numbers as classes."""
    texts = {clip.id: label for clip in clips if (label := _label(clip, target)) is not None}
    if not is_measured(list(texts.values())):
        return clips
    names, codes = parts(np.array(list(map(float, texts.values()))))
    group_of = dict(zip(texts, (names[code] for code in codes.tolist()), strict=True))
    return [replace(clip, labels={**clip.labels, target: group_of.get(clip.id, "")}) for clip in clips]


def label_columns(clips: Iterable[Clip]) -> list[str]:
    """Names of all label columns, in the order of their first use."""
    return list(dict.fromkeys(name for clip in clips for name in clip.labels))


def find_column(names: Sequence[str], columns: Sequence[str], *, exclude: str) -> str | None:
    """The column with the first of `names` that exists, ignoring case; never the column `exclude`."""
    folded = {column.casefold(): column for column in columns if column != exclude}
    return next((folded[name] for name in names if name in folded), None)


def _label(clip: Clip, target: str) -> str | None:
    return clip.labels.get(target, "").strip() or None


def _source(clip: Clip, column: str | None) -> str | None:
    """The recording that the clip was cut from: the column's value, or of a segment or channel the file."""
    if column is not None:
        return clip.labels.get(column)
    is_part = clip.start is not None or clip.end is not None or clip.own_channel is not None
    return str(clip.path) if is_part else None


@dataclass(frozen=True)
class Overlap:
    """Test clips of all folds whose group also has training clips.

    tested: number of test clips. count: how many of them overlap. rows: their row numbers, once each.
    """

    tested: int
    count: int
    rows: np.ndarray

    @property
    def share(self) -> float:
        return self.count / self.tested if self.tested else 0.0

    @property
    def numbers(self) -> dict[str, float]:
        return {"share": self.share, "clips": float(self.count), "tested": float(self.tested)}


@dataclass(frozen=True)
class Partitions:
    """Row numbers of the training and test clips of each fold."""

    folds: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def from_clips(cls, clips: Sequence[Clip], assignment: Assignment | None) -> Partitions | None:
        """From clip ids per fold, else from the table's split column; None where neither defines a test set.

        Validation clips count as training. Ids that are not in the table are ignored.
        """
        if assignment is None:
            splits = [PARTITIONS.get((clip.split or "").strip().lower(), "") for clip in clips]
            train = np.flatnonzero(np.isin(splits, ("train", "validation")))
            test = np.flatnonzero(np.isin(splits, "test"))
            return cls(((train, test),)) if len(train) and len(test) else None
        row_of = {clip.id: row for row, clip in enumerate(clips)}

        def rows(ids: Sequence[str]) -> np.ndarray:
            return np.array([row_of[id] for id in ids if id in row_of], np.int64)

        return cls(tuple((rows(train), rows(test)) for train, test in assignment))

    def overlap(self, groups: np.ndarray) -> Overlap:
        """Test clips that share a group with a training clip. groups: (N,) codes, negative for no group."""
        rows = [
            test[np.isin(groups[test], groups[train]) & (groups[test] >= 0)] for train, test in self.folds
        ]
        tested = sum(len(test) for _, test in self.folds)
        return Overlap(tested, sum(map(len, rows)), np.unique(np.concatenate([np.empty(0, np.int64), *rows])))


def expected_overlap(groups: np.ndarray, *, share: float = 0.2) -> float:
    """Expected share of test clips that share a group with a training clip under a random split; exact.

    groups: (N,) codes, negative for no group. share: of the clips that are tested. A test clip in a group of
    g has no training clip in its group if the other g - 1 are tested too: a hypergeometric probability.
    """
    clips = len(groups)
    tested = round(clips * share)
    if tested == 0:
        return 0.0
    sizes = np.unique(groups[groups >= 0], return_counts=True)[1]
    all_tested = hypergeom.pmf(sizes - 1, clips - 1, sizes - 1, tested - 1)
    return float((sizes * (1 - all_tested)).sum() / clips)


def encode(values: Sequence[object | None]) -> np.ndarray:
    """(N,) integer codes in order of first occurrence, -1 for None."""
    codes: dict[object, int] = {}
    return np.array(
        [-1 if value is None else codes.setdefault(value, len(codes)) for value in values], np.int64
    )
