"""What of the test clips' speakers, texts and source recordings training has already met."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from layerprobe.cache.common.text import format_count, format_percent
from layerprobe.classify.audit.findings import Finding
from layerprobe.classify.audit.table import Table, numbered, seen_at_random


def leakage_findings(table: Table) -> Iterator[Finding]:
    """One for each item that the table's columns allow to look at."""
    yield _speakers(table)
    if table.text is not None and np.any(table.speakers >= 0):
        yield _twins(table)
    if np.any(table.sources >= 0):
        yield _sources(table)


def _speakers(table: Table) -> Finding:
    """Test clips whose speaker is in training."""
    if not np.any(table.speakers >= 0):
        return Finding(
            item="test speakers in training",
            verdict="look",
            told="No speakers are named, so training may know every test voice: add a speaker column.",
        )
    return _across(
        table,
        table.speakers,
        item="test speakers in training",
        what="clips of the same speaker",
        so="the score says how well known voices are read, not new ones. Split by speaker",
    )


def _twins(table: Table) -> Finding:
    """Test clips whose speaker says the same text with the same label in training."""
    triples = zip(table.speakers.tolist(), table.texts.tolist(), table.labels.tolist(), strict=True)
    return _across(
        table,
        numbered([None if min(triple) < 0 else triple for triple in triples]),
        item="speaker, text and label twins",
        what=f"a twin (same speaker, same {table.text}, same {table.target})",
        so="a head that remembers takes does as well as one that understands. Split by speaker",
    )


def _sources(table: Table) -> Finding:
    """Test clips cut from a recording of which other pieces are in training."""
    return _across(
        table,
        table.sources,
        item="source recordings",
        what="pieces of the same recording",
        so="room, microphone and mood come with them. Keep each recording in one part",
    )


def _across(table: Table, groups: np.ndarray, *, item: str, what: str, so: str) -> Finding:
    """The finding on groups of which no part should be tested while another is trained on."""
    if table.parts is None:
        share = seen_at_random(groups)
        numbers = {"expected_share_at_random": share}
        if np.bincount(groups[groups >= 0], minlength=1).max() < 2:
            told = f"No clip has {what} beside it, however they are split."
            return Finding(item=item, verdict="fine", told=told, numbers=numbers)
        told = (
            f"Were a random fifth tested, {format_percent(share)} of it would have {what} in training: {so}."
        )
        return Finding(item=item, verdict="look", told=told, numbers=numbers)
    seen = table.parts.seen(groups)
    numbers = {"share": seen.share, "clips": float(seen.met), "tested": float(seen.tested)}
    if seen.met == 0:
        told = f"No test clip has {what} in training."
        return Finding(item=item, verdict="fine", told=told, numbers=numbers)
    return Finding(
        item=item,
        verdict="leak",
        told=f"{seen.met:,} of {format_count(seen.tested, 'test clip')} ({format_percent(seen.share)}) have {what} "
        f"in training: {so}.",
        numbers=numbers,
        evidence=table.ids(seen.rows),
    )
