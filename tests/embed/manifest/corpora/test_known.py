"""Each known corpus, read from a made tree in its own naming scheme."""

from __future__ import annotations

import pytest

from layerprobe.embed.manifest.corpora.known import KNOWN
from layerprobe.embed.manifest.corpora.patterns import Pattern
from tests.trees import touch

ENTRIES = {entry.name: entry for entry in KNOWN}

# File of a copy → (emotion, speaker).
TREES: dict[str, dict[str, tuple[str, str]]] = {
    "baved": {"5/12-f-21-5-2-105.wav": ("2", "12"), "0/0-m-20-0-0-0.wav": ("0", "0")},
    "eyase": {"fm01_hap (3).wav": ("hap", "fm01"), "ml02_neu(19).wav": ("neu", "ml02")},
    "ksuemotions": {
        "data/SPEECH/Phase_1/E05/D05E05P003S18T02.flac": ("anger", "P003"),
        "data/SPEECH/Phase_2/E00/D05E00P011S01T01.flac": ("neutral", "P011"),
    },
    "emodb": {"wav/03a01Fa.wav": ("happiness", "03"), "wav/16b10N.flac": ("neutral", "16")},
    "ravdess": {
        "Actor_12/03-01-05-01-02-01-12.wav": ("anger", "12"),
        "Actor_01/03-01-01-01-01-01-01.wav": ("neutral", "01"),
        "Actor_24/01-01-08-02-02-02-24.mp4": ("surprise", "24"),
    },
    "ravdess-song": {"Actor_03/03-02-06-02-01-02-03.wav": ("fear", "03")},
    "crema-d": {
        "AudioWAV/1001_DFA_ANG_XX.wav": ("anger", "1001"),
        "AudioWAV/1040_ITH_SAD_X.wav": ("sadness", "1040"),
        "AudioWAV/1091_IEO_HAP_HI.wav": ("happiness", "1091"),
    },
    "tess": {
        "OAF_Fear/OAF_back_fear.wav": ("fear", "OAF"),
        "OAF_neutral/OA_bite_neutral.wav": ("neutral", "OAF"),
        "YAF_pleasant_surprised/YAF_youth_ps.wav": ("surprise", "YAF"),
    },
    "savee": {
        "AudioData/DC/a01.wav": ("anger", "DC"),
        "AudioData/KL/sa15.wav": ("sadness", "KL"),
        "ALL/JE_su02.wav": ("surprise", "JE"),
        "ALL/JK_n30.wav": ("neutral", "JK"),
    },
    "urdu": {
        "Neutral/SM5_F63_N091.wav": ("neutral", "SM5"),
        "Sad/SF10_F1_S01.wav": ("sadness", "SF10"),
    },
    "shemo": {
        "female/F01S01.wav": ("sadness", "F01"),
        "male/M32W02.wav": ("surprise", "M32"),
        "male/M03N100.wav": ("neutral", "M03"),
    },
    "aesdd": {
        "anger/a06 (5)b.wav": ("anger", "5"),
        "fear/f13 (01).wav": ("fear", "1"),
        "happiness/h09 (6).wav": ("happiness", "6"),
    },
    "cafe": {
        "CaFE_48k/Peur/Fort/08-P-2-1.wav": ("fear", "08"),
        "CaFE_48k/Neutre/12-N-1-6.wav": ("neutral", "12"),
    },
    "emovo": {"f2/gio-f2-b2.wav": ("happiness", "f2"), "m1/rab-m1-n5.wav": ("anger", "m1")},
    "jl": {
        "JL(wav+txt)/female1_angry_10a_1.wav": ("anger", "female1"),
        "JL(wav+txt)/male2_encouraging_3b_2.wav": ("encouraging", "male2"),
    },
    "esd": {
        "0011/Angry/0011_000351.wav": ("anger", "0011"),
        "0001/Surprise/evaluation/0001_001401.wav": ("surprise", "0001"),
    },
    "ased": {
        "05Angry/a5-06-01-01-21.wav": ("anger", "21"),
        "01Neutral/n1-01-02-02-04.wav": ("neutral", "04"),
    },
    "turev": {
        "Sound Source/Calm/1984_sk_orgu.wav": ("calm", "1984"),
        "Sound Source/Happy/6783_mt_cay.wav": ("happiness", "6783"),
    },
}


def test_every_entry_has_a_tree():
    assert TREES.keys() == ENTRIES.keys()
    assert len(ENTRIES) == len(KNOWN)


@pytest.mark.parametrize("name", TREES)
def test_a_tree_in_the_naming_scheme(tmp_path, name):
    corpus = ENTRIES[name].read(touch(tmp_path, *TREES[name], "other/take one.wav"))
    assert {clip.id: (clip.labels["emotion"], clip.speaker) for clip in corpus.clips} == TREES[name]
    assert corpus.left_out == {"other/take one.wav": f"is not named like {ENTRIES[name].example}"}


@pytest.mark.parametrize("name", TREES)
def test_the_example_in_messages_is_a_name_of_the_corpus(tmp_path, name):
    example = ENTRIES[name].example.partition(" (0")[0]
    example = (
        example if example.endswith((".wav", ".flac")) else example.rpartition(" (")[0].partition(" or ")[0]
    )
    assert len(ENTRIES[name].read(touch(tmp_path, example)).clips) == 1


@pytest.mark.parametrize("name", TREES)
def test_maps_are_of_fields(name):
    fields = {field for text in ENTRIES[name].patterns for field in Pattern.parse(text).fields}
    assert ENTRIES[name].maps.keys() <= fields
    assert {"emotion", "speaker"} <= fields


def test_a_copy_of_another_size_gets_a_note(tmp_path):
    corpus = ENTRIES["ravdess"].read(touch(tmp_path, *TREES["ravdess"]))
    assert corpus.notes == [
        "looked for 1,440 clips as published, found 3",
        "looked for 24 speakers as published, found 3",
    ]


def test_speech_and_song_are_kept_apart(tmp_path):
    root = touch(tmp_path, *TREES["ravdess"], *TREES["ravdess-song"])
    assert len(ENTRIES["ravdess"].read(root).clips) == 3
    assert len(ENTRIES["ravdess-song"].read(root).clips) == 1


def test_what_follows_from_names_and_folders(tmp_path):
    (clip, other) = ENTRIES["emodb"].read(touch(tmp_path / "e", *TREES["emodb"])).clips
    assert (clip.labels["gender"], other.labels["gender"]) == ("m", "f")
    (clip, other) = ENTRIES["ksuemotions"].read(touch(tmp_path / "k", *TREES["ksuemotions"])).clips
    assert (clip.labels["phase"], other.labels["phase"]) == ("1", "2")
    assert {c.labels["gender"] for c in ENTRIES["eyase"].read(touch(tmp_path, *TREES["eyase"])).clips} == {
        "f",
        "m",
    }


def test_licences_that_were_not_found_send_to_the_page():
    assert {entry.licence for entry in KNOWN if "page" in entry.licence} == {"see the corpus's page"}
    assert all(entry.source.startswith("http") for entry in KNOWN)
