"""Published splits as data: rules with their parameters, the corpora they are of, and what they leak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from layerprobe.classify.data.protocol_rules import (
    LeaveOneGroupOut,
    LeaveOneSpeakerOut,
    NamedSpeakers,
    OwnPartitions,
    Rule,
    SpeakerGroups,
    StratifiedHoldout,
)


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
    """One protocol; `leaks` says what the test clips share with training, `source` where it is published."""

    name: str
    published: PublishedCorpus
    rule: Rule
    leaks: str
    source: str = ""


BAVED = PublishedCorpus(
    corpus="BAVED",
    clips=1935,
    speakers=60,
    classes={"0": 585, "1": 672, "2": 678},
    names="09bbaece9bf2c7a7",
)

EMOBOX_PAPER = "Ma et al. 2024, EmoBox, Interspeech: a fold for each speaker"

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
        FixedSplit(
            name="emodb-loso",
            published=PublishedCorpus(corpus="EMO-DB", clips=535, speakers=10),
            rule=LeaveOneSpeakerOut(),
            leaks="the sentences: all speakers say the same ten",
            source="usual for this corpus, without a single publication",
        ),
        FixedSplit(
            name="ravdess-actors-5",
            published=PublishedCorpus(corpus="RAVDESS, speech", clips=1440, speakers=24),
            rule=NamedSpeakers(
                folds=(
                    ("02", "05", "14", "15", "16"),
                    ("03", "06", "07", "13", "18"),
                    ("10", "11", "12", "19", "20"),
                    ("08", "17", "21", "23", "24"),
                    ("01", "04", "09", "22"),
                )
            ),
            leaks="the sentences: all actors say the same two",
            source="code of Luna-Jiménez et al., multimodal recognition on RAVDESS, Applied Sciences",
        ),
        *(
            FixedSplit(
                name=f"{name}-loso",
                published=PublishedCorpus(corpus=corpus, clips=clips, speakers=speakers),
                rule=LeaveOneSpeakerOut(),
                leaks=f"the sentences, which all say; with {speakers} speakers the interval is wide",
                source=EMOBOX_PAPER,
            )
            for name, corpus, clips, speakers in (
                ("savee", "SAVEE", 480, 4),
                ("emovo", "EMOVO", 588, 6),
                ("jl", "JL corpus", 2400, 4),
            )
        ),
        FixedSplit(
            name="iemocap-session-5",
            published=PublishedCorpus(corpus="IEMOCAP", speakers=10),
            rule=LeaveOneGroupOut(label="session"),
            leaks="no speaker; the sessions share the scripts of their scripted dialogues",
            source="EMO-SUPERB and EmoBox (Ma et al. 2024): a fold for each session of two speakers",
        ),
        FixedSplit(
            name="meld-test",
            published=PublishedCorpus(corpus="MELD", clips=13708),
            rule=OwnPartitions(
                label="", train=("train", "validation"), test=("test",), speaker_disjoint=False
            ),
            leaks="the speakers: the series' main characters are in all partitions",
            source="Poria et al. 2019, ACL, 527-536: the corpus's own partitions",
        ),
        FixedSplit(
            name="msp-podcast-test1",
            published=PublishedCorpus(corpus="MSP-Podcast"),
            rule=OwnPartitions(
                label="partition",
                train=("Train", "Development", "Validation"),
                test=("Test1",),
                speaker_disjoint=True,
            ),
            leaks="what the audit of this release finds; speakers called Unknown may be anyone",
            source="the corpus's own partitions (Lotfian and Busso 2019), which change with each release",
        ),
    )
}
