"""What an audit says: a verdict per item, in words that a person can act on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["fine", "look", "leak"]
SEVERITY: tuple[Verdict, ...] = ("fine", "look", "leak")


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
