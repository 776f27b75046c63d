"""The audit of a table of clips: what leaks from training into test, and what is wrong with the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.cache.identity.digests import Digests
from layerprobe.cache.identity.keys import clip_key
from layerprobe.classify.audit.composition import composition_findings
from layerprobe.classify.audit.confounds import confound_findings
from layerprobe.classify.audit.duplicates import duplicate_findings
from layerprobe.classify.audit.findings import SEVERITY, Finding, Verdict
from layerprobe.classify.audit.leakage import leakage_findings
from layerprobe.classify.audit.measurements import Measurements, measure
from layerprobe.classify.audit.table import Table
from layerprobe.classify.data.splits import Assignment
from layerprobe.embed.manifest.clips import Clip


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class: how many clips and speakers it has, and the medians of its sound (NaN without any)."""

    label: str
    clips: int
    speakers: int
    seconds: float
    level: float
    silence: float


@dataclass(frozen=True, kw_only=True)
class FoldRow:
    """One fold: clips and speakers of either part, and how many test speakers are in training too."""

    fold: int
    train_clips: int
    test_clips: int
    train_speakers: int
    test_speakers: int
    shared_speakers: int
    test_classes: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """findings: one per item, in a fixed order. unchecked: what could not be looked at, and why."""

    clips: int
    speakers: int | None
    target: str
    findings: tuple[Finding, ...]
    classes: tuple[ClassRow, ...]
    folds: tuple[FoldRow, ...]
    unchecked: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return max((found.verdict for found in self.findings), key=SEVERITY.index, default="fine")

    def of(self, item: str) -> Finding:
        """The finding on one item. Raises KeyError where it was not looked at."""
        return {found.item: found for found in self.findings}[item]


def audit(
    clips: Sequence[Clip],
    *,
    target: str,
    cache: Path,
    assignment: Assignment | None = None,
    text: str | None = None,
    source: str | None = None,
    notes: Sequence[str] = (),
) -> Audit:
    """Look through a table and its sound.

    target: the column with the label. assignment: the ids of training and test clips per fold; without it the
    table's own split, and where it has none what a random split would leak. text, source: the columns that
    say what is said and what a clip was cut from, found by their usual names unless given. notes: what the
    corpus's reader remarked. cache: folder that remembers checksums and measures, so that a second audit of
    the same clips only compares.

    Deterministic. A clip that cannot be read is listed as broken and left out of what concerns sound. Raises
    InputError for columns that are not there.
    """
    if not clips:
        raise InputError("there are no clips to audit")
    table = Table.of(clips, target=target, assignment=assignment, text=text, source=source)
    with Digests(cache) as digests:
        found = digests.of([clip.path for clip in clips])
    keys = []
    for clip in clips:
        digest = found[clip.path]
        keys.append(clip_key(digest, start=clip.start, end=clip.end) if isinstance(digest, str) else "")
    measures = measure(clips, keys, cache=cache)
    findings = [
        *leakage_findings(table),
        *duplicate_findings(table, keys, measures),
        *composition_findings(table),
        *confound_findings(measures, table.labels, table.classes),
        _broken(clips, measures),
        *_notes(notes),
    ]
    return Audit(
        clips=len(clips),
        speakers=int(table.speakers.max()) + 1 if np.any(table.speakers >= 0) else None,
        target=target,
        findings=tuple(findings),
        classes=tuple(_class_rows(table, measures)),
        folds=tuple(_fold_rows(table)),
        unchecked=tuple(table.unchecked()),
    )


def _broken(clips: Sequence[Clip], measures: Measurements) -> Finding:
    rows = np.flatnonzero(measures.broken != "").tolist()
    evidence = tuple(f"{clips[row].id}: {measures.broken[row]}" for row in rows)
    numbers = {"broken": float(len(rows))}
    if not rows:
        return Finding(item="broken files", verdict="fine", told="Every clip can be read.", numbers=numbers)
    return Finding(
        item="broken files",
        verdict="look",
        told=f"{format_count(len(rows), 'clip')} of {len(clips):,} cannot be used; they are in neither part, "
        f"but for those whose states are cached: {format_list(evidence)}. Restore or convert them.",
        numbers=numbers,
        evidence=evidence,
    )


def _notes(notes: Sequence[str]) -> Iterator[Finding]:
    if notes:
        yield Finding(
            item="corpus notes",
            verdict="look",
            told=f"The corpus differs from what it says: {'; '.join(notes)}.",
            numbers={"notes": float(len(notes))},
            evidence=tuple(notes),
        )


def _class_rows(table: Table, measures: Measurements) -> Iterator[ClassRow]:
    for number, name in enumerate(table.classes):
        mine = table.labels == number
        heard = mine & (measures.broken == "")
        seconds, level, silence = (
            float(np.median(values[heard])) if heard.any() else float("nan")
            for values in (measures.seconds, measures.level, measures.silence)
        )
        voices = table.speakers[mine]
        yield ClassRow(
            label=name,
            clips=int(mine.sum()),
            speakers=len(np.unique(voices[voices >= 0])),
            seconds=seconds,
            level=level,
            silence=silence,
        )


def _fold_rows(table: Table) -> Iterator[FoldRow]:
    for number, (train, test) in enumerate(table.parts.folds if table.parts else ()):
        heard, asked = (np.unique(table.speakers[rows]) for rows in (train, test))
        heard, asked = heard[heard >= 0], asked[asked >= 0]
        tested = np.bincount(table.labels[test][table.labels[test] >= 0], minlength=len(table.classes))
        yield FoldRow(
            fold=number,
            train_clips=len(train),
            test_clips=len(test),
            train_speakers=len(heard),
            test_speakers=len(asked),
            shared_speakers=len(np.intersect1d(heard, asked)),
            test_classes=dict(zip(table.classes, tested.tolist(), strict=True)),
        )
