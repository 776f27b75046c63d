"""Fixed splits stay what they are, whatever the versions of the libraries."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.protocol_rules import stratified_holdout
from layerprobe.classify.data.protocols import PROTOCOLS, deviations, protocol_folds
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora import CORPORA
from tests.trees import anad_names, anad_table, baved_names, eyase_names, ksuemotions_names, touch

anad, baved, eyase, ksuemotions = (CORPORA[name] for name in ("anad", "baved", "eyase", "ksuemotions"))


def made(*, speakers: int = 11, root: str = "corpus") -> list[Clip]:
    """Speakers with 3 to 33 clips in three classes, in BAVED's layout."""
    clips = []
    for speaker in range(speakers):
        for i in range(3 * (speaker + 1)):
            path = Path(root, str(i % 7), f"{speaker}-m-20-{i % 7}-{i % 3}-{i}.wav")
            labels = {"emotion": str(i % 3)}
            clips.append(Clip(id=f"{speaker}.{i}", file=str(path), labels=labels, speaker=str(speaker)))
    return clips


def digest(folds: list[tuple[list[str], list[str]]]) -> str:
    return hashlib.sha256(repr([sorted(test) for _, test in folds]).encode()).hexdigest()[:16]


PINNED = {
    "baved-speaker-5": "d8be3bed3d8929da",
    "baved-random-2021": "dc22b6bb05bae4f6",
    "eyase-loso": "31725f4eec25cc9e",
    "eyase-random-2021": "dc22b6bb05bae4f6",
    "baved-eyase-random-2021": "dc22b6bb05bae4f6",
    "baved-eyase-speaker-5": "d8be3bed3d8929da",
    "ksu-speaker-5": "d8be3bed3d8929da",
    "anad-video": "31725f4eec25cc9e",
    **dict.fromkeys(("emodb-loso", "savee-loso", "emovo-loso", "jl-loso"), "31725f4eec25cc9e"),
}
OWN = PROTOCOLS.keys() - PINNED.keys()  # those that need a corpus's own speakers or labels


@pytest.mark.parametrize("name", PINNED)
def test_the_assignment_never_changes(name):
    assert digest(protocol_folds(name, made())) == PINNED[name]


@pytest.mark.parametrize("name", PINNED)
def test_every_clip_is_in_one_part_of_each_fold(name):
    clips = made()
    folds = protocol_folds(name, clips)
    ids = [clip.id for clip in clips]
    for train, test in folds:
        assert sorted(train + test) == sorted(ids)
        assert train == [id for id in ids if id in set(train)]
    tested = Counter(id for _, test in folds for id in test)
    if not name.endswith("-random-2021"):
        assert tested == Counter(ids)


@pytest.mark.parametrize("name", PINNED)
def test_neither_the_order_of_the_table_nor_the_place_of_the_corpus_matters(name):
    clips = made()
    shuffled = [clips[i] for i in np.random.default_rng(0).permutation(len(clips))]
    assert digest(protocol_folds(name, shuffled)) == digest(protocol_folds(name, clips))
    assert digest(protocol_folds(name, made(root="/data/elsewhere"))) == digest(protocol_folds(name, clips))


@pytest.mark.parametrize("name", ["baved-speaker-5", "ksu-speaker-5", "eyase-loso", "anad-video"])
def test_no_speaker_is_on_both_sides(name):
    speaker = {clip.id: clip.speaker for clip in made()}
    for train, test in protocol_folds(name, made()):
        assert not {speaker[id] for id in train} & {speaker[id] for id in test}


def test_groups_of_speakers_by_hand():
    sizes = {"a": 7, "b": 6, "c": 5, "d": 4, "e": 3, "f": 3, "g": 1}
    clips = [
        Clip(id=f"{name}{i}", file=f"{name}{i}.wav", labels={"emotion": "x"}, speaker=name)
        for name, size in sizes.items()
        for i in range(size)
    ]
    folds = [sorted({id[0] for id in test}) for _, test in protocol_folds("ksu-speaker-5", clips)]
    # a 7 | b 6 | c 5 | d 4 | e 3; then f to e's, which has fewest; then g to d's.
    assert folds == [["a"], ["b"], ["c"], ["d", "g"], ["e", "f"]]


def test_same_person_under_two_names_is_kept_together():
    clips = [
        Clip(id=f"{s}.{i}", file=f"{s}.{i}.wav", labels={"emotion": "0"}, speaker=str(s))
        for s in range(40, 60)
        for i in range(5)
    ]
    holding = [
        {id.split(".")[0] for id in test} & {"46", "53"}
        for _, test in protocol_folds("baved-speaker-5", clips)
    ]
    assert sorted(map(len, holding)) == [0, 0, 0, 0, 2]


@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=120).filter(
        lambda y: min(Counter(y).values()) > 1 and len(set(y)) > 1
    ),
    st.integers(0, 1000),
    st.sampled_from([0.2, 0.25, 0.5]),
)
def test_the_holdout_is_scikit_learn_s(y, seed, share):
    places = np.arange(len(y))
    _, tested = train_test_split(places, test_size=share, random_state=seed, stratify=y)
    assert stratified_holdout(np.array(y), share=share, seed=seed).tolist() == sorted(tested.tolist())


def test_the_2021_split_is_train_test_split_of_the_sorted_list():
    clips = sorted(made(), key=lambda clip: (clip.path.parent.name, clip.path.name))
    ids, labels = [clip.id for clip in clips], [clip.labels["emotion"] for clip in clips]
    train, test = train_test_split(ids, test_size=0.2, random_state=101, stratify=labels)
    ((ours_train, ours_test),) = protocol_folds("baved-random-2021", made())
    assert (sorted(ours_train), sorted(ours_test)) == (sorted(train), sorted(test))


@pytest.mark.parametrize(
    ("name", "read", "names"),
    [
        ("baved-speaker-5", baved, baved_names(speakers=7, words=3)),
        ("baved-random-2021", baved, baved_names(speakers=7, words=3)),
        ("eyase-loso", eyase, eyase_names(speakers=("fm01", "fm02", "ml01"))),
        ("ksu-speaker-5", ksuemotions, ksuemotions_names(speakers=(1, 2, 3, 4, 5, 6))),
    ],
)
def test_tables_of_the_corpora_can_be_split_and_their_size_is_judged(tmp_path, name, read, names):
    clips = read(touch(tmp_path, *names)).clips
    assert sum(len(test) for _, test in protocol_folds(name, clips)) > 0
    notes = deviations(name, clips)
    assert notes
    assert all("as published" in note for note in notes)


def test_videos_with_one_emotion_each_cannot_be_tested_and_it_says_so(tmp_path):
    emotions = {"V1_1 (1)": "happy", "V2_1 (1)": "happy", "V3_1 (1)": "angry"}
    touch(tmp_path, *anad_names(videos=3, pieces=1))
    anad_table(tmp_path, emotions)
    clips = anad(tmp_path).clips
    assert len(protocol_folds("anad-video", clips)) == 3
    assert deviations("anad-video", clips)[-1] == "fold 2 tests angry, without a clip in training"


def test_what_a_table_lacks():
    clips = made()
    nobody = [Clip(id=c.id, file=c.file, labels=c.labels) for c in clips]
    with pytest.raises(InputError, match=r"0\.0 has no speaker"):
        protocol_folds("eyase-loso", nobody)
    unlabelled = [Clip(id=c.id, file=c.file, speaker=c.speaker) for c in clips]
    with pytest.raises(InputError, match="has no 'emotion'"):
        protocol_folds("baved-random-2021", unlabelled)
    with pytest.raises(InputError, match="2 speakers cannot be split into 5 folds"):
        protocol_folds("ksu-speaker-5", made(speakers=2))
    with pytest.raises(InputError, match="only 1 speaker"):
        protocol_folds("anad-video", made(speakers=1))
    with pytest.raises(InputError, match="--protocol eyase; choose from baved-speaker-5, baved-random-2021"):
        protocol_folds("eyase", clips)


def own(labels: list[dict[str, str]], *, speakers: list[str], splits: list[str | None]) -> list[Clip]:
    rows = enumerate(zip(labels, speakers, splits, strict=True))
    return [
        Clip(id=str(n), file=f"{n}.wav", labels={"emotion": "x", **label}, speaker=speaker, split=split)
        for n, (label, speaker, split) in rows
    ]


def test_sessions_actors_and_own_partitions():
    assert {"iemocap-session-5", "ravdess-actors-5", "meld-test", "msp-podcast-test1"} == OWN
    sessions = [{"session": name} for name in ("01", "02", "01", "03")]
    clips = own(sessions, speakers=["a", "b", "c", "d"], splits=[None] * 4)
    assert [test for _, test in protocol_folds("iemocap-session-5", clips)] == [["0", "2"], ["1"], ["3"]]

    actors = [f"{number:02}" for number in range(1, 25)]
    clips = own([{}] * 24, speakers=actors, splits=[None] * 24)
    folds = [{actors[int(id)] for id in test} for _, test in protocol_folds("ravdess-actors-5", clips)]
    assert folds[0] == {"02", "05", "14", "15", "16"}
    assert sorted(name for fold in folds for name in fold) == actors
    with pytest.raises(InputError, match="no clip is of the speakers that fold 0 tests"):
        protocol_folds("ravdess-actors-5", clips[20:])
    with pytest.raises(InputError, match="speaker 'anna' is in none of the protocol's folds"):
        protocol_folds("ravdess-actors-5", [*clips, *own([{}], speakers=["anna"], splits=[None])])

    clips = own([{}] * 3, speakers=["a"] * 3, splits=["train", "validation", "test"])
    assert protocol_folds("meld-test", clips) == [(["0", "1"], ["2"])]
    with pytest.raises(InputError, match="no clip is in partition test"):
        protocol_folds("meld-test", clips[:2])

    parts = [{"partition": name} for name in ("Train", "Development", "Test1", "Test2")]
    clips = own(parts, speakers=["a", "b", "c", "d"], splits=[None] * 4)
    assert protocol_folds("msp-podcast-test1", clips) == [(["0", "1"], ["2"])]
    with pytest.raises(InputError, match="0 has no 'partition'"):
        protocol_folds("msp-podcast-test1", own([{}], speakers=["a"], splits=[None]))


def test_each_tells_its_rule_and_its_leaks():
    for name, split in PROTOCOLS.items():
        assert split.name == name
        assert split.leaks
        assert split.rule.description
        assert split.source or not name.startswith(
            ("emodb", "ravdess", "iemocap", "meld", "msp", "jl", "savee")
        )
    assert "random_state=101" in PROTOCOLS["baved-random-2021"].rule.description


@pytest.mark.skipif("LAYERPROBE_BAVED" not in os.environ, reason="needs BAVED")
def test_baved():
    clips = baved(Path(os.environ["LAYERPROBE_BAVED"])).clips
    speaker = {clip.id: clip.speaker for clip in clips}
    for name in ("baved-speaker-5", "baved-random-2021"):
        assert deviations(name, clips) == []
        assert deviations(name, clips[1:])
    folds = protocol_folds("baved-speaker-5", clips)
    assert [len(test) for _, test in folds] == [386, 387, 386, 388, 388]
    (train, test), *rest = protocol_folds("baved-random-2021", clips)
    assert not rest
    assert (len(train), len(test)) == (1548, 387)
    assert {speaker[id] for id in test} <= {speaker[id] for id in train}
    assert digest(folds) == "27c95e67e124b438"
    assert digest([(train, test)]) == "1f329d2698994959"
