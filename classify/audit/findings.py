"""What an audit says: a verdict per item, in words that a person can act on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["fine", "look", "leak"]
SEVERITY: tuple[Verdict, ...] = ("fine", "look", "leak")
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One item of an audit.

    item: its name, the same in every audit. verdict: `fine`; `look`, where a person should decide; `leak`,
    where training knows more of the test clips than it may. told: what was found, what it means, what to do.
    numbers: what the verdict rests on. evidence: one line for each clip, copy or speaker concerned, all of
    them.
    """

    item: str
    verdict: Verdict
    told: str
    numbers: dict[str, float] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()


def span(low: float | None, high: float | None) -> str:
    """`[0.412, 0.538]`; empty where there is no interval."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{low:.3f}, {high:.3f}]"


def percent(share: float) -> str:
    """0.998 → `99.8 %`."""
    return f"{100 * share:.1f} %"


def some(things: Sequence[object], *, shown: int = SHOWN) -> str:
    """The first few of many, in words."""
    more = f" and {len(things) - shown} more" if len(things) > shown else ""
    return ", ".join(map(str, things[:shown])) + more


def count(number: int, noun: str) -> str:
    """`1 clip`, `1,935 clips`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
