"""A table of clips → `list[Clip]`; every bad row reported at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One labelled stretch of speech.

    id: unique in its table; the path as the table writes it, with `#start-end` where a segment is given.
    path: the audio file, absolute or relative to the working folder.
    start, end: seconds, or None for the file's own start and end.
    labels: every further column of the table, as text.
    """

    id: str
    path: Path
    start: float | None = None
    end: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    speaker: str | None = None
    split: str | None = None
