"""Protocols: fixed outer splits by name, so that scores of different people are on the same clips.

A protocol is data: a rule with its parameters, the published size of the corpus, and what the split leaks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from layerprobe.cache.common.options import check_choice
from layerprobe.cache.common.text import format_list
from layerprobe.classify.data.protocol_rules import (
    LeaveOneSpeakerOut,
    Rule,
    SpeakerGroups,
    StratifiedHoldout,
    corpus_path,
)
from layerprobe.embed.manifest.clips import Clip

TARGET = "emotion"  # the label column of all protocols


@dataclass(frozen=True, kw_only=True)
class PublishedCorpus:
    """A corpus as published: numbers of clips, speakers and clips per class; None or empty if unknown.

    names: digest of folders, file names and labels, see `names_digest`.
    """

    corpus: str
    clips: int | None = None
    speakers: int | None = None
    classes: Mapping[str, int] = field(default_factory=dict)
    names: str | None = None


@dataclass(frozen=True, kw_only=True)
class FixedSplit:
    """One protocol; `leaks` says what the test clips share with training."""

    name: str
    published: PublishedCorpus
    rule: Rule
    leaks: str


BAVED = PublishedCorpus(
    corpus="BAVED",
    clips=1935,
    speakers=60,
    classes={"0": 585, "1": 672, "2": 678},
    names="09bbaece9bf2c7a7",
)

PROTOCOLS: dict[str, FixedSplit] = {
    split.name: split
    for split in (
        FixedSplit(
            name="baved-speaker-5",
            published=BAVED,
            rule=SpeakerGroups(folds=5, same_person=(("46", "53"),)),
            leaks="nothing known; speakers 46 and 53, whose recordings are the same, are kept together",
        ),
        # The publication shuffled a list in the unknown order of its author's file system; sorting by name is
        # reproducible.
        FixedSplit(
            name="baved-random-2021",
            published=BAVED,
            rule=StratifiedHoldout(share=0.2, seed=101),
            leaks="every test clip's speaker is in training, and for 84 % of the test clips the same "
            "speaker, word and level: it measures recognition of known speakers",
        ),
        FixedSplit(
            name="eyase-loso",
            published=PublishedCorpus(corpus="EYASE", clips=579, speakers=6),
            rule=LeaveOneSpeakerOut(),
            leaks="nothing known; with six speakers the interval is wide",
        ),
        FixedSplit(
            name="eyase-random-2021",
            # Which 499 of the 579 clips the publication used is not known.
            published=PublishedCorpus(corpus="EYASE", clips=499, speakers=6),
            rule=StratifiedHoldout(share=0.2, seed=101),
            leaks="every test clip's speaker is in training: it measures recognition of known speakers",
        ),
        FixedSplit(
            name="baved-eyase-random-2021",
            published=PublishedCorpus(corpus="BAVED + EYASE", clips=2434, speakers=66),
            rule=StratifiedHoldout(share=0.2, seed=101),
            leaks="as in the splits of both; and the corpora's classes differ, so that recognising the "
            "corpus solves a part of the task",
        ),
        FixedSplit(
            name="baved-eyase-speaker-5",
            published=PublishedCorpus(corpus="BAVED + EYASE", clips=2514, speakers=66),
            rule=SpeakerGroups(folds=5, same_person=(("baved:46", "baved:53"),)),
            leaks="no speaker; but the corpora's classes differ, so that recognising the corpus solves "
            "a part of the task",
        ),
        FixedSplit(
            name="ksu-speaker-5",
            published=PublishedCorpus(corpus="KSUEmotions", speakers=23),
            rule=SpeakerGroups(folds=5),
            leaks="the sentences: all speakers read the same ones",
        ),
        FixedSplit(
            name="anad-video",
            published=PublishedCorpus(corpus="ANAD", clips=1384, speakers=8),
            rule=LeaveOneSpeakerOut(),
            leaks="nothing across videos, used in place of the unknown speakers; but each video has a single "
            "emotion, so that speaker, room and emotion cannot be separated",
        ),
    )
}


def protocol_folds(protocol: str, clips: Sequence[Clip]) -> list[tuple[list[str], list[str]]]:
    """(training ids, test ids) of each outer fold, in the table's order.

    Pass the complete table, and drop unusable clips from the result: fewer clips would be split differently.
    Raises InputError for an unknown protocol and for clips that lack what its rule needs.
    """
    return [
        (
            [clip.id for clip, tested in zip(clips, fold, strict=True) if not tested],
            [clip.id for clip, tested in zip(clips, fold, strict=True) if tested],
        )
        for fold in find_protocol(protocol).rule.test_masks(clips, TARGET)
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
