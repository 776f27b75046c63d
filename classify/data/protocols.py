"""Fixed outer splits by name, so that two people who score a corpus score the same clips.

A protocol is data: a rule with its numbers, what the corpus should hold, and what the split leaks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list
from layerprobe.classify.data.protocol_rules import (
    LeaveOneSpeakerOut,
    Rule,
    SpeakerGroups,
    StratifiedHoldout,
    corpus_path,
)
from layerprobe.embed.manifest.clips import Clip

TARGET = "emotion"  # the column all protocols are about


@dataclass(frozen=True, kw_only=True)
class PublishedCorpus:
    """A corpus as published: how many clips and speakers, clips of each class; None or empty if not known.

    names: 16 hex digits over folders, file names and labels, see `names_digest`.
    """

    corpus: str
    clips: int | None = None
    speakers: int | None = None
    classes: Mapping[str, int] = field(default_factory=dict)
    names: str | None = None


@dataclass(frozen=True, kw_only=True)
class FixedSplit:
    """One protocol; `leaks` says what the test part shares with training."""

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
        # The publication shuffles a list in the order of its author's file system, which nobody can know:
        # sorted by name is the order that everybody can make.
        FixedSplit(
            name="baved-random-2021",
            published=BAVED,
            rule=StratifiedHoldout(share=0.2, seed=101),
            leaks="every test clip's speaker is in training, and for 84 % of the test clips the same "
            "speaker, word and level: it scores how well known voices are read",
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
            leaks="every test clip's speaker is in training: it scores how well known voices are read",
        ),
        FixedSplit(
            name="baved-eyase-random-2021",
            published=PublishedCorpus(corpus="BAVED + EYASE", clips=2434, speakers=66),
            rule=StratifiedHoldout(share=0.2, seed=101),
            leaks="as in the splits of both; and the corpora's classes differ, so that telling the corpora "
            "apart already answers a part of the question",
        ),
        FixedSplit(
            name="baved-eyase-speaker-5",
            published=PublishedCorpus(corpus="BAVED + EYASE", clips=2514, speakers=66),
            rule=SpeakerGroups(folds=5, same_person=(("baved:46", "baved:53"),)),
            leaks="no voice; but the corpora's classes differ, so that telling the corpora apart already "
            "answers a part of the question",
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
            leaks="nothing across videos, which stand in for unknown speakers; but each video was given one "
            "emotion, so voice, room and emotion cannot be told apart",
        ),
    )
}


def protocol_folds(protocol: str, clips: Sequence[Clip]) -> list[tuple[list[str], list[str]]]:
    """The (training ids, test ids) of each outer fold, ids in the table's order.

    Give the whole table, and drop clips that cannot be used from the result: a split of fewer clips is
    another one. Raises InputError for a protocol that is not known and for clips without what its rule goes
    by.
    """
    return [
        (
            [clip.id for clip, tested in zip(clips, fold, strict=True) if not tested],
            [clip.id for clip, tested in zip(clips, fold, strict=True) if tested],
        )
        for fold in find_protocol(protocol).rule.test_masks(clips, TARGET)
    ]


def deviations(protocol: str, clips: Sequence[Clip]) -> list[str]:
    """What makes a score on this table not one under the protocol, a line each; empty if nothing does.

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
            notes.append(
                f"fold {number} tests {format_list(untrained)}, of which its training part has no clip"
            )
    return notes


def describe_protocol(protocol: str, clips: Sequence[Clip], *, target: str = TARGET) -> dict[str, object]:
    """What a summary says of the protocol.

    `deviations` are what `deviations` finds on this table, and a target that is not the protocol's.
    """
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
    """16 hex digits that change with a clip's folder, file name or label, and not with the table's order."""
    lines = sorted(f"{'/'.join(corpus_path(clip))} {clip.labels.get(TARGET, '')}" for clip in clips)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def find_protocol(name: str) -> FixedSplit:
    """A protocol by its name. Raises InputError."""
    if name not in PROTOCOLS:
        raise InputError(f"protocol '{name}' is not known", do=f"choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _sizes(published: PublishedCorpus, clips: Sequence[Clip]) -> Iterator[tuple[str, str]]:
    """(what is here, what should be) where the two differ."""
    speakers = len({clip.speaker for clip in clips if clip.speaker})
    if published.clips not in (None, len(clips)):
        yield f"{len(clips):,} clips", f"{published.clips:,}"
    if published.speakers not in (None, speakers):
        yield f"{speakers:,} speakers", f"{published.speakers:,}"
    held = Counter(clip.labels.get(TARGET, "") for clip in clips)
    for label in sorted(published.classes.keys() | held.keys()) if published.classes else ():
        if held[label] != published.classes.get(label, 0):
            yield f"{held[label]:,} clips of class '{label}'", f"{published.classes.get(label, 0):,}"
