"""Protocols: fixed outer splits by name, so that scores of different people are on the same clips.

A protocol is data (`published_splits`): a rule with its parameters, the published size of the corpus, and
what the split leaks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from layerprobe.cache.common.options import check_choice
from layerprobe.cache.common.text import format_list
from layerprobe.classify.data.protocol_rules import corpus_path
from layerprobe.classify.data.published_splits import PROTOCOLS, FixedSplit, PublishedCorpus
from layerprobe.embed.manifest.clips import Clip

TARGET = "emotion"  # the label column of all protocols


def protocol_folds(protocol: str, clips: Sequence[Clip]) -> list[tuple[list[str], list[str]]]:
    """(training ids, test ids) of each outer fold, in the table's order.

    Pass the complete table, and drop unusable clips from the result: fewer clips would be split differently.
    Raises InputError for an unknown protocol and for clips that lack what its rule needs.
    """
    rule = find_protocol(protocol).rule
    masks = rule.test_masks(clips, TARGET)
    used = ~rule.unused(clips)
    return [
        (
            [clip.id for clip, trained in zip(clips, used & ~tested, strict=True) if trained],
            [clip.id for clip, is_test in zip(clips, used & tested, strict=True) if is_test],
        )
        for tested in masks
    ]


def deviations(protocol: str, clips: Sequence[Clip]) -> list[str]:
    """The reasons why a score on this table is not comparable with others under the protocol.

    Raises InputError as `protocol_folds` does.
    """
    published = find_protocol(protocol).published
    notes = [
        f"{here} in the table, {there} in {published.corpus} as published"
        for here, there in _sizes(published, clips)
    ]
    if not notes and published.names not in (None, names_digest(clips)):
        notes.append(f"files or labels are not named as in {published.corpus} as published")
    label = {clip.id: clip.labels.get(TARGET, "") for clip in clips}
    for number, (train, test) in enumerate(protocol_folds(protocol, clips)):
        untrained = sorted({label[id] for id in test} - {label[id] for id in train})
        if untrained:
            notes.append(f"fold {number} tests {format_list(untrained)}, without a clip in training")
    return notes


def describe_protocol(protocol: str, clips: Sequence[Clip], *, target: str = TARGET) -> dict[str, object]:
    """The summary's entry on the protocol, with the deviations of this table and target."""
    split = find_protocol(protocol)
    found = deviations(protocol, clips)
    if target != TARGET:
        found.insert(0, f"the target is '{target}', that of the protocol is '{TARGET}'")
    return {
        "name": split.name,
        "corpus": split.published.corpus,
        "rule": split.rule.description,
        "speaker_disjoint": split.rule.speaker_disjoint,
        "leaks": split.leaks,
        "source": split.source,
        "deviations": found,
    }


def names_digest(clips: Sequence[Clip]) -> str:
    """16 hex digits over folders, file names and labels of all clips, whatever their order."""
    lines = sorted(f"{'/'.join(corpus_path(clip))} {clip.labels.get(TARGET, '')}" for clip in clips)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def find_protocol(name: str) -> FixedSplit:
    """The protocol of this name. Raises InputError if there is none."""
    check_choice("--protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def _sizes(published: PublishedCorpus, clips: Sequence[Clip]) -> Iterator[tuple[str, str]]:
    """(actual, published) numbers of clips, speakers and clips per class, where they differ."""
    speakers = len({clip.speaker for clip in clips if clip.speaker})
    if published.clips not in (None, len(clips)):
        yield f"{len(clips):,} clips", f"{published.clips:,}"
    if published.speakers not in (None, speakers):
        yield f"{speakers:,} speakers", f"{published.speakers:,}"
    actual = Counter(clip.labels.get(TARGET, "") for clip in clips)
    for label in sorted(published.classes.keys() | actual.keys()) if published.classes else ():
        if actual[label] != published.classes.get(label, 0):
            yield f"{actual[label]:,} clips of class '{label}'", f"{published.classes.get(label, 0):,}"
