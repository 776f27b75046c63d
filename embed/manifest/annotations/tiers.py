"""What an annotation file contains: tiers of intervals with text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A stretch of time, in seconds, with its text."""

    start: float
    end: float
    text: str

    def overlap(self, other: Interval) -> float:
        """Seconds that both have in common."""
        return min(self.end, other.end) - max(self.start, other.start)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """The intervals of one tier, in the order of the file. name: None where the format has no names.

    speaker: whose tier it is, where the format says it. untimed: intervals with text, but without times.
    """

    name: str | None
    intervals: Sequence[Interval]
    speaker: str | None = None
    untimed: int = 0

    def owner(self, name: str) -> str | None:
        """Whose tier it is: the speaker that the format says, or the end of a tier called `name@SPEAKER`."""
        return self.speaker or (self.name or "").removeprefix(name).removeprefix("@") or None


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One file. media: the sound files that it names, relative to it."""

    tiers: Sequence[Tier]
    media: Sequence[str] = ()


def tiers_called(annotation: Annotation, name: str) -> list[Tier]:
    """The tiers of this name, with `@SPEAKER` at the end or not; a tier without a name has any."""
    exact = [tier for tier in annotation.tiers if tier.name in (None, name)]
    of_speakers = [tier for tier in annotation.tiers if (tier.name or "").startswith(f"{name}@")]
    return [*exact, *of_speakers]
