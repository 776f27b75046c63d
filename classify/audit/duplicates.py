"""Clips that are copies of others: across training and test, and copies that contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from layerprobe.cache.common.text import format_count, format_list, format_percent
from layerprobe.classify.audit.findings import Finding
from layerprobe.classify.audit.measurements import Measurements
from layerprobe.classify.audit.table import Table, numbered


def duplicate_findings(table: Table, keys: Sequence[str], measures: Measurements) -> Iterator[Finding]:
    """On identical, near-identical and contradicting clips.

    keys: what identifies each clip's bytes and segment, "" where its file cannot be read.
    """
    identical = numbered([key or None for key in keys])
    joined = _joined(identical, measures.copies)
    linked = np.isin(joined, joined[measures.copies.ravel()])
    yield _parted(
        table,
        identical,
        item="identical audio",
        kind="byte for byte the same as another",
        evidence=[" = ".join(table.ids(rows)) for rows in _sets(identical)],
        copies=sum(len(rows) - 1 for rows in _sets(identical)),
    )
    yield _parted(
        table,
        np.where(linked, joined, -1),
        item="near-identical audio",
        kind="the same recording as another but for gain, cut, noise or coding",
        evidence=[
            f"{table.clips[a].id} ~ {table.clips[b].id} (correlation {correlation:.3f}, {shift:+.3f} s)"
            for (a, b), correlation, shift in zip(
                measures.copies, measures.correlation, measures.shift, strict=True
            )
        ],
        copies=len(np.unique(measures.copies[:, 1])),
    )
    yield _contradictions(table, joined)


def _joined(identical: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """(N,) the groups of `identical`, those of near copies (P, 2) made one; negative stays."""
    size = int(identical.max(initial=0)) + 1
    a, b = identical[copies].T
    links = coo_array((np.ones(len(copies)), (a, b)), shape=(size, size))
    group_of = connected_components(links, directed=False)[1]
    return np.where(identical >= 0, group_of[identical], -1)


def _sets(groups: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each group of two or more, in the order of their first rows."""
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    return sorted((rows for rows in np.split(order, starts) if len(rows) > 1), key=lambda rows: int(rows[0]))


def _parted(
    table: Table, groups: np.ndarray, *, item: str, kind: str, evidence: Sequence[str], copies: int
) -> Finding:
    """Whether copies lie on both sides."""
    numbers = {"copies": float(copies)}
    if not copies:
        return Finding(item=item, verdict="fine", told=f"No clip is {kind}.", numbers=numbers)
    told = f"{format_count(copies, 'clip')} {'is' if copies == 1 else 'are'} {kind} ({format_list(evidence)})"
    if table.parts is None:
        so = "a split that parts them tests what it trained on"
        met = 0
    else:
        seen = table.parts.seen(groups)
        met = seen.met
        numbers |= {"share": seen.share, "clips": float(seen.met), "tested": float(seen.tested)}
        so = (
            f"{met:,} of {format_count(seen.tested, 'test clip')} ({format_percent(seen.share)}) have theirs in training, "
            "so their answer is known"
            if met
            else "no test clip has its copy in training, but they count twice"
        )
    return Finding(
        item=item,
        verdict="leak" if met else "look",
        told=f"{told}: {so}. Keep one of each.",
        numbers=numbers,
        evidence=tuple(evidence),
    )


def _contradictions(table: Table, groups: np.ndarray) -> Finding:
    """Copies whose speakers, labels or texts differ: at most one of them can be right."""
    evidence: list[str] = []
    columns: Counter[str] = Counter()
    voices: Counter[str] = Counter()
    for rows in _sets(groups):
        clips = [table.clips[row] for row in rows]
        values = {"speaker": {clip.speaker or "" for clip in clips}}
        for column in filter(None, (table.target, table.text)):
            values[column] = {clip.labels.get(column, "") for clip in clips}
        # An empty cell says nothing, so it contradicts nothing.
        told = {column: sorted(found - {""}) for column, found in values.items()}
        odd = {column: found for column, found in told.items() if len(found) > 1}
        if odd:
            reason = "; ".join(f"{column} {' or '.join(found)}" for column, found in odd.items())
            evidence.append(f"{' = '.join(table.ids(rows))}: {reason}")
            columns.update(odd.keys())
            voices.update([" and ".join(odd["speaker"])] if "speaker" in odd else [])
    item = "copies that disagree"
    numbers = {"sets": float(len(evidence))} | {f"differing_{name}": float(n) for name, n in columns.items()}
    if not evidence:
        text = "No copies differ in speaker, label or text."
        return Finding(item=item, verdict="fine", told=text, numbers=numbers)
    text = f"{format_count(len(evidence), 'set')} of copies disagree: a fault of the corpus."
    if voices:
        shared = [f"{names} ({format_count(n, 'recording')})" for names, n in voices.most_common()]
        text += (
            f" Speakers that share recordings: {format_list(shared)}. One voice under two names may be in training "
            "and test at once even in speaker-disjoint folds: give it one name, or drop the copies."
        )
    for column in filter(None, (table.target, table.text)):
        if columns[column]:
            text += f" {format_count(columns[column], 'set')} differ in {column}: at most one can be right, drop them."
    return Finding(item=item, verdict="look", told=text, numbers=numbers, evidence=tuple(evidence))
