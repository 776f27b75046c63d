"""Leakage from training into test: speakers, texts and source recordings that both contain.

Copies of clips across training and test are in `duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from layerprobe.cache.common.text import format_count, format_percent
from layerprobe.classify.audit.table import Finding, Table, encode, expected_overlap


def leakage_findings(table: Table) -> Iterator[Finding]:
    """One finding for each kind of group that the table's columns define."""
    if np.any(table.speakers >= 0):
        yield _overlap_finding(
            table,
            table.speakers,
            item="test speakers in training",
            what="clips of the same speaker",
            advice="the score is about known speakers, not new ones. Split by speaker",
        )
    else:
        message = "The table names no speakers, so any test speaker may be in training: add a speaker column."
        yield Finding("test speakers in training", "look", message)
    if table.text is not None and np.any(table.speakers >= 0):
        triples = zip(table.speakers.tolist(), table.texts.tolist(), table.labels.tolist(), strict=True)
        yield _overlap_finding(
            table,
            encode([None if min(triple) < 0 else triple for triple in triples]),
            item="speaker, text and label twins",
            what=f"a twin (same speaker, same {table.text}, same {table.target})",
            advice="a head that memorises takes scores as high as one that generalises. Split by speaker",
        )
    if np.any(table.sources >= 0):
        yield _overlap_finding(
            table,
            table.sources,
            item="source recordings",
            what="segments of the same recording",
            advice="they share room, microphone and mood. Keep each recording in one partition",
        )


def _overlap_finding(table: Table, groups: np.ndarray, *, item: str, what: str, advice: str) -> Finding:
    """Finding on groups that should not be in training and test at once."""
    if table.partitions is None:
        share = expected_overlap(groups)
        numbers = {"expected_share_at_random": share}
        if np.bincount(groups[groups >= 0], minlength=1).max() < 2:
            return Finding(item, "fine", f"No clip has {what} elsewhere in the table.", numbers)
        expected = (
            f"If a random fifth were tested, {format_percent(share)} of it would have {what} in training"
        )
        return Finding(item, "look", f"{expected}: {advice}.", numbers)
    overlap = table.partitions.overlap(groups)
    if overlap.count == 0:
        return Finding(item, "fine", f"No test clip has {what} in training.", overlap.numbers)
    message = (
        f"{overlap.count:,} of {format_count(overlap.tested, 'test clip')} ({format_percent(overlap.share)}) "
        f"have {what} in training: {advice}."
    )
    return Finding(item, "leak", message, overlap.numbers, evidence=table.ids(overlap.rows))
