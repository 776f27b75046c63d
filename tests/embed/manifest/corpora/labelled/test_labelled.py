"""IEMOCAP, MELD and MSP-Podcast from small trees in the layouts of their archives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest
from layerprobe.embed.manifest.corpora.labelled import LABELLED
from tests.trees import touch

iemocap, meld, msp_podcast = LABELLED.values()

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\texc\t[4.0000, 3.5000, 3.0000]
C-E2:\tExcited;\t()

[14.8872 - 18.0175]\tSes01F_impro01_F002\txxx\t[2.5000, 3.5000, 3.5000]

[19.2900 - 20.7875]\tSes01F_impro01_MXX0\tfru\t[2.5000, 3.5000, 3.5000]
"""
TURNS = ("F000", "M001", "F002", "MXX0")


def session(root: Path, *, turns: bool = True, dialogues: bool = True) -> Path:
    """One session, with its turns as files, the recordings of its dialogues, or both."""
    names = ["Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"]
    names += ["Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt"]
    names += ["Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt"]
    names += ["Session1/dialog/wav/Ses01F_impro01.wav"] * dialogues
    folder = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01"
    names += [f"{folder}_{turn}.wav" for turn in TURNS] * turns
    touch(root, *names)
    (root / names[0]).write_text(EVALUATION)
    return root


def test_iemocap_turns_as_files(tmp_path):
    corpus = iemocap(session(tmp_path))
    first = corpus.clips[0]
    assert first == Clip(
        id="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
        file=str(tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"),
        labels={
            **{"emotion": "neutral", "valence": "2.5000", "activation": "2.5000", "dominance": "2.5000"},
            **{"gender": "F", "session": "01", "dialog": "Ses01F_impro01"},
        },
        speaker="Ses01F",
    )
    by_turn = {clip.path.stem[-4:]: clip for clip in corpus.clips}
    assert by_turn["M001"].speaker == "Ses01M"
    assert (by_turn["M001"].labels["emotion"], by_turn["M001"].labels["activation"]) == (
        "excitement",
        "3.5000",
    )
    assert "emotion" not in by_turn["F002"].labels
    assert corpus.notes == ["1 clip without an agreed emotion: the label is empty"]
    assert corpus.left_out == {}


def test_iemocap_turns_as_intervals_of_the_dialogues(tmp_path):
    corpus = iemocap(session(tmp_path, turns=False))
    assert [(clip.id, clip.start, clip.end) for clip in corpus.clips[:2]] == [
        ("Ses01F_impro01_F000", 6.2901, 8.2357),
        ("Ses01F_impro01_M001", 10.01, 11.3925),
    ]
    write_manifest(corpus.clips, tmp_path / "clips.csv")
    assert read_manifest(tmp_path / "clips.csv") == corpus.clips


def test_iemocap_reports_what_is_missing(tmp_path):
    session(tmp_path, dialogues=False)
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav").unlink()
    touch(tmp_path, "Session1/sentences/wav/Ses01F_impro09_F000.wav")
    corpus = iemocap(tmp_path)
    assert corpus.notes[0] == "1 recording listed, but not found: Ses01F_impro01_F000"
    assert corpus.left_out == {
        "Session1/sentences/wav/Ses01F_impro09_F000.wav": "is in no file of EmoEvaluation"
    }


MELD = "\ufeffSr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n"
ROWS = {
    "train": ["1,Hi!,Chandler,joy,positive,0,0,8,21", '2,"Oh, no",Joey,neutral,neutral,0,1,8,21'],
    "dev": ["1,What?,Joey,surprise,negative,0,0,4,7"],
    "test": ["1,Stop.,Monica,anger,negative,0,0,3,19", "2,Gone.,Ross,fear,negative,3,4,3,19"],
}


def series(root: Path) -> Path:
    touch(
        root,
        *("train/train_splits/dia0_utt0.mp4", "train/train_splits/dia0_utt1.mp4"),
        *("dev_splits_complete/dia0_utt0.mp4", "output_repeated_splits_test/dia0_utt0.mp4"),
        *("output_repeated_splits_test/final_videos_testdia0_utt0.mp4", "train/train_splits/dia9_utt0.mp4"),
    )
    for name, rows in ROWS.items():
        text = MELD + "\n".join(rows) + "\n"
        (root / ("train" if name == "train" else ".") / f"{name}_sent_emo.csv").write_text(text)
    return root


def test_meld(tmp_path):
    corpus = meld(series(tmp_path))
    assert {(clip.id, clip.labels["emotion"], clip.speaker, clip.split) for clip in corpus.clips} == {
        ("train/train_splits/dia0_utt0.mp4", "happiness", "Chandler", "train"),
        ("train/train_splits/dia0_utt1.mp4", "neutral", "Joey", "train"),
        ("dev_splits_complete/dia0_utt0.mp4", "surprise", "Joey", "validation"),
        ("output_repeated_splits_test/dia0_utt0.mp4", "anger", "Monica", "test"),
    }
    (second,) = [clip for clip in corpus.clips if clip.id.endswith("dia0_utt1.mp4")]
    assert (second.labels["text"], second.labels["dialogue"]) == ("Oh, no", "train 0")
    assert corpus.notes == ["1 recording listed, but not found: test dia3_utt4"]
    assert set(corpus.left_out) == {
        "output_repeated_splits_test/final_videos_testdia0_utt0.mp4",
        "train/train_splits/dia9_utt0.mp4",
    }


MSP = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
MSP_ROWS = [
    "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1",
    "MSP-PODCAST_0001_0009.wav,A,5.9,2.5,5.1,39,Female,Train",
    "MSP-PODCAST_0002_0001.wav,X,3.0,3.0,4.0,Unknown,Unknown,Development",
    "MSP-PODCAST_0002_0002.wav,C,3.0,3.0,4.0,41,Male,Test2",
]


def podcast(root: Path, rows: list[str]) -> Path:
    touch(root, *(f"Audios/{row.partition(',')[0]}" for row in MSP_ROWS[:3]), "Audios/other.wav")
    (root / "Labels").mkdir()
    (root / "Labels" / "labels_consensus.csv").write_text(MSP + "\n".join(rows) + "\n")
    return root


def test_msp_podcast(tmp_path):
    corpus = msp_podcast(podcast(tmp_path, MSP_ROWS))
    assert [(c.labels.get("emotion"), c.speaker, c.split, c.labels["partition"]) for c in corpus.clips] == [
        ("neutral", "30", "test", "Test1"),
        ("anger", "39", "train", "Train"),
        (None, "Unknown", "validation", "Development"),
    ]
    assert corpus.clips[0].labels["activation"] == "2.2"
    assert corpus.notes == [
        "1 recording listed, but not found: MSP-PODCAST_0002_0002.wav",
        "1 clip without an agreed emotion: the label is empty",
        "1 clip of speaker 'Unknown' count as clips of one speaker",
    ]
    assert corpus.left_out == {"Audios/other.wav": "is not in labels_consensus.csv"}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("iemocap", r"EmoEvaluation/Ses01F_impro01\.txt, found no such file"),
        ("meld", r"looked for train_sent_emo\.csv, .*, found mine\.csv"),
        ("msp-podcast", r"looked for Labels/labels_consensus\.csv, found mine\.csv"),
    ],
)
def test_a_folder_without_label_files_is_refused(tmp_path, name, what):
    with pytest.raises(InputError, match=what) as caught:
        LABELLED[name](touch(tmp_path, "a.wav", "mine.csv"))
    assert str(tmp_path) in caught.value.line()


def test_label_files_without_their_recordings_are_refused(tmp_path):
    session(tmp_path / "i", turns=False, dialogues=False)
    with pytest.raises(
        InputError, match=r"looked for recordings like Ses01F_impro01_F000\.wav, found a\.wav"
    ):
        iemocap(touch(tmp_path / "i", "a.wav"))
    touch(tmp_path / "m", "a.mp4").joinpath("dev_sent_emo.csv").write_text(MELD + ROWS["dev"][0])
    with pytest.raises(InputError, match=r"recordings like train_splits/dia0_utt0\.mp4, found a\.mp4"):
        meld(tmp_path / "m")
    with pytest.raises(InputError, match=r"MSP-PODCAST_0001_0008\.wav, found Audios/MSP"):
        msp_podcast(podcast(tmp_path / "p", [MSP_ROWS[3]]))


def test_tables_with_other_columns_are_refused(tmp_path):
    root = series(tmp_path)
    (root / "dev_sent_emo.csv").write_text("Utterance,Speaker,Emotion\nHi,Joey,joy\n")
    with pytest.raises(InputError, match="looked for the columns Dialogue_ID, Utterance_ID, found Utterance"):
        meld(root)
    (root / "dev_sent_emo.csv").write_text(MELD + ROWS["dev"][0].replace(",0,0,", ",zero,0,"))
    with pytest.raises(InputError, match="row 1: Dialogue_ID 'zero' is no number"):
        meld(root)


def test_three_of_the_archives_files_have_distinct_partitions(tmp_path):
    clips = meld(series(tmp_path)).clips
    assert Counter(clip.split for clip in clips) == {"train": 2, "validation": 1, "test": 1}
