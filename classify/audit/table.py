"""A table of clips as an audit sees it: classes, speakers, texts and sources as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.audit.partitions import Assignment, Parts, numbered
from layerprobe.classify.data.dataset import NOT_A_LABEL
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
    parts: Parts | None

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
            parts=Parts.of(clips, assignment),
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
