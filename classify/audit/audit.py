"""`audit`: run every check over a table of clips and collect the findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.console import stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.cache.store.keys import known_keys
from layerprobe.classify.audit.composition import composition_findings
from layerprobe.classify.audit.confounds import FORMAT, SOUND, confound_findings
from layerprobe.classify.audit.duplicates import duplicate_findings
from layerprobe.classify.audit.leakage import leakage_findings
from layerprobe.classify.audit.measurements import Measurements, measure, unmeasured
from layerprobe.classify.audit.table import SEVERITY, Finding, Table, Verdict
from layerprobe.classify.data.splits import Assignment
from layerprobe.embed.config import ALL_CHANNELS, FIRST_TRACK
from layerprobe.embed.manifest.clips import Clip, select_sound

# Findings for which audio is read.
OF_SOUND = ("near-identical audio", *(f"{name} by class" for name in (*SOUND, *FORMAT)), "broken files")


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class: its clips and speakers, and medians over its readable clips (NaN without any).

    seconds: length. level: dB below full scale. silence: share of silent frames.
    """

    label: str
    clips: int
    speakers: int
    seconds: float
    level: float
    silence: float


@dataclass(frozen=True, kw_only=True)
class FoldRow:
    """One fold: clips and speakers of both partitions, test clips per class, speakers in both partitions."""

    fold: int
    train_clips: int
    test_clips: int
    train_speakers: int
    test_speakers: int
    shared_speakers: int
    test_classes: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """findings: one per item, in a fixed order. unchecked: what could not be checked, and why."""

    clips: int
    speakers: int | None
    target: str
    findings: tuple[Finding, ...]
    classes: tuple[ClassRow, ...]
    folds: tuple[FoldRow, ...]
    unchecked: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The most severe verdict of all findings."""
        return max((finding.verdict for finding in self.findings), key=SEVERITY.index, default="fine")

    def finding(self, item: str) -> Finding:
        """Raises KeyError for an item that was not checked."""
        return {finding.item: finding for finding in self.findings}[item]


@stage("audit")
def audit(
    clips: Sequence[Clip],
    *,
    target: str,
    cache: Path,
    assignment: Assignment | None = None,
    text: str | None = None,
    source: str | None = None,
    notes: Sequence[str] = (),
    channels: str = ALL_CHANNELS,
    track: int = FIRST_TRACK,
) -> Audit:
    """Check a table of clips and its audio for leaks, errors and confounds. Deterministic.

    target: label column. assignment: ids of the training and test clips of each fold; without it the table's
    split column, and without that the leakage expected of a random split. text, source: columns with the
    spoken text and the recording that a clip was cut from; None for their usual names. notes: remarks of the
    corpus reader. channels, track: what is read of the files, as for `embed`. cache: folder for checksums and
    measurements, so that a second audit decodes nothing.

    Unreadable clips are listed as broken and left out of the checks of sound. Where no audio is on this
    machine, but the cache knows it, all checks of sound are left out. Raises InputError for an empty table or
    an unknown column.
    """
    if not clips:
        raise InputError("there are no clips to audit")
    clips = select_sound(clips, channels=channels, track=track)
    table = Table.from_clips(clips, target=target, assignment=assignment, text=text, source=source)
    known = known_keys(clips, cache)
    keys = [key if isinstance(key, str) else "" for key in known.keys]  # "": unreadable
    measures = unmeasured(len(clips)) if known.all_elsewhere else measure(clips, keys, cache=cache)
    findings = [
        *leakage_findings(table),
        *duplicate_findings(table, keys, measures),
        *composition_findings(table),
    ]
    unchecked = table.unchecked()
    if known.all_elsewhere:
        findings = [finding for finding in findings if finding.item not in OF_SOUND]
        unchecked.append(f"{', '.join(OF_SOUND)}: {known.note}")
    else:
        findings += confound_findings(measures, table.labels, table.classes)
        findings.append(_broken_files(clips, measures))
    if notes:
        message = f"The corpus differs from its documentation: {'; '.join(notes)}."
        findings.append(Finding("corpus notes", "look", message, {"notes": float(len(notes))}, tuple(notes)))
    return Audit(
        clips=len(clips),
        speakers=int(table.speakers.max()) + 1 if np.any(table.speakers >= 0) else None,
        target=target,
        findings=tuple(findings),
        classes=tuple(_class_rows(table, measures)),
        folds=tuple(_fold_rows(table)),
        unchecked=tuple(unchecked),
    )


def _broken_files(clips: Sequence[Clip], measures: Measurements) -> Finding:
    evidence = tuple(
        f"{clip.id}: {reason}" for clip, reason in zip(clips, measures.broken, strict=True) if reason
    )
    item, numbers = "broken files", {"broken": float(len(evidence))}
    if not evidence:
        return Finding(item, "fine", "Every clip can be read.", numbers)
    message = (
        f"{format_count(len(evidence), 'clip')} of {len(clips):,} cannot be used; only those with cached "
        f"states can be in training or test: {format_list(evidence)}. Restore or convert them."
    )
    return Finding(item, "look", message, numbers, evidence)


def _class_rows(table: Table, measures: Measurements) -> Iterator[ClassRow]:
    for code, name in enumerate(table.classes):
        rows = table.labels == code
        readable = rows & (measures.broken == "")
        seconds, level, silence = (
            float(np.median(values[readable])) if readable.any() else float("nan")
            for values in (measures.seconds, measures.level, measures.silence)
        )
        yield ClassRow(
            label=name,
            clips=int(rows.sum()),
            speakers=len(_known(table.speakers[rows])),
            seconds=seconds,
            level=level,
            silence=silence,
        )


def _fold_rows(table: Table) -> Iterator[FoldRow]:
    for number, (train, test) in enumerate(table.partitions.folds if table.partitions else ()):
        train_speakers, test_speakers = _known(table.speakers[train]), _known(table.speakers[test])
        labels = table.labels[test]
        test_classes = np.bincount(labels[labels >= 0], minlength=len(table.classes)).tolist()
        yield FoldRow(
            fold=number,
            train_clips=len(train),
            test_clips=len(test),
            train_speakers=len(train_speakers),
            test_speakers=len(test_speakers),
            shared_speakers=len(np.intersect1d(train_speakers, test_speakers)),
            test_classes=dict(zip(table.classes, test_classes, strict=True)),
        )


def _known(codes: np.ndarray) -> np.ndarray:
    """Distinct codes that are not negative."""
    return np.unique(codes[codes >= 0])
