"""Duplicate clips: copies across training and test, and copies whose labels contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from layerprobe.cache.common.text import format_count, format_list, format_percent
from layerprobe.classify.audit.measurements import Measurements
from layerprobe.classify.audit.table import Finding, Table, encode


def duplicate_findings(table: Table, keys: Sequence[str], measures: Measurements) -> Iterator[Finding]:
    """Findings on identical, near-identical and contradicting clips.

    keys: (N,) content key of each clip (the bytes of its file, and its segment), "" for an unreadable file.
    """
    identical = encode([key or None for key in keys])
    identical_sets = _sets(identical)
    recordings = _merge(identical, measures.copies)
    near = np.isin(recordings, recordings[measures.copies.ravel()])
    yield _copies(
        table,
        identical,
        item="identical audio",
        kind="byte for byte the same as another",
        evidence=[" = ".join(table.ids(rows)) for rows in identical_sets],
        copies=sum(len(rows) - 1 for rows in identical_sets),
    )
    pairs = zip(measures.copies, measures.correlation, measures.shift, strict=True)
    yield _copies(
        table,
        np.where(near, recordings, -1),
        item="near-identical audio",
        kind="the same recording as another except for gain, cut, noise or coding",
        evidence=[
            f"{table.clips[a].id} ~ {table.clips[b].id} (correlation {correlation:.3f}, {shift:+.3f} s)"
            for (a, b), correlation, shift in pairs
        ],
        copies=len(np.unique(measures.copies[:, 1])),
    )
    yield _contradictions(table, _sets(recordings))


def _merge(groups: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(N,) group codes with the groups of each pair of rows (P, 2) merged; negative codes stay negative."""
    size = int(groups.max(initial=0)) + 1
    a, b = groups[pairs].T
    links = coo_array((np.ones(len(pairs)), (a, b)), shape=(size, size))
    merged = connected_components(links, directed=False)[1]
    return np.where(groups >= 0, merged[groups], -1)


def _sets(groups: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each group of two or more, ordered by first row."""
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    return sorted((rows for rows in np.split(order, starts) if len(rows) > 1), key=lambda rows: int(rows[0]))


def _copies(
    table: Table, groups: np.ndarray, *, item: str, kind: str, evidence: Sequence[str], copies: int
) -> Finding:
    """Finding on copies, a leak if test clips have theirs in training."""
    numbers = {"copies": float(copies)}
    if not copies:
        return Finding(item, "fine", f"No clip is {kind}.", numbers)
    leaked = 0
    if table.partitions is None:
        effect = "a split that separates them tests on its training data"
    else:
        overlap = table.partitions.overlap(groups)
        numbers |= overlap.numbers
        leaked = overlap.count
        effect = "no test clip has its copy in training, but each recording counts twice"
        if leaked:
            tested = f"{format_count(overlap.tested, 'test clip')} ({format_percent(overlap.share)})"
            effect = f"{leaked:,} of {tested} have their copy in training, with its label"
    subject = f"{format_count(copies, 'clip')} {'is' if copies == 1 else 'are'} {kind}"
    message = f"{subject} ({format_list(evidence)}): {effect}. Keep one of each."
    return Finding(item, "leak" if leaked else "look", message, numbers, tuple(evidence))


def _contradictions(table: Table, sets: Sequence[np.ndarray]) -> Finding:
    """Finding on copies whose speakers, labels or texts differ: at most one of them can be right."""
    columns = [column for column in (table.target, table.text) if column is not None]
    evidence = []
    differing: Counter[str] = Counter()
    speakers: Counter[str] = Counter()
    for rows in sets:
        clips = [table.clips[row] for row in rows]
        values = {"speaker": {clip.speaker for clip in clips}} | {
            column: {clip.labels.get(column) for clip in clips} for column in columns
        }
        known = {column: sorted(filter(None, cells)) for column, cells in values.items()}  # empty cells agree
        conflicts = {column: cells for column, cells in known.items() if len(cells) > 1}
        if conflicts:
            reason = "; ".join(f"{column} {' or '.join(cells)}" for column, cells in conflicts.items())
            evidence.append(f"{' = '.join(table.ids(rows))}: {reason}")
            differing.update(conflicts.keys())
            speakers.update([" and ".join(conflicts["speaker"])] if "speaker" in conflicts else [])
    item = "copies that disagree"
    numbers = {"sets": float(len(evidence))}
    numbers |= {f"differing_{column}": float(sets) for column, sets in differing.items()}
    if not evidence:
        return Finding(item, "fine", "No copies differ in speaker, label or text.", numbers)
    message = f"{format_count(len(evidence), 'set')} of copies disagree: an error in the corpus."
    if speakers:
        shared = [f"{names} ({format_count(n, 'recording')})" for names, n in speakers.most_common()]
        message += (
            f" Speakers that share recordings: {format_list(shared)}. One voice under two names can be in "
            "training and test at once even with speaker-disjoint folds: use one name, or drop the copies."
        )
    for column in columns:
        if differing[column]:
            number = format_count(differing[column], "set")
            message += f" {number} differ in {column}: at most one can be right, drop them."
    return Finding(item, "look", message, numbers, tuple(evidence))
