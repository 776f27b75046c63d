"""Corpora read from small trees of their layout, and from the real BAVED where there is one."""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError, ManifestError
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest
from layerprobe.embed.manifest.corpora import CORPORA
from layerprobe.embed.manifest.corpora.labelled import LABELLED
from layerprobe.embed.manifest.corpora.readers import labelled_folders
from layerprobe.embed.manifest.corpora.reading import read_pattern
from tests.trees import anad_names, anad_table, baved_names, eyase_names, ksuemotions_names, touch

anad, baved, emodb, eyase, ksuemotions = (
    CORPORA[name] for name in ("anad", "baved", "emodb", "eyase", "ksuemotions")
)

KSU_EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "questioning", "anger")
BAVED = os.environ.get("LAYERPROBE_BAVED")
EMODB = os.environ.get("LAYERPROBE_EMODB")


def test_baved(tmp_path):
    root = touch(tmp_path, *baved_names(), "README.txt", "naming.txt")
    corpus = baved(root)
    assert len(corpus.clips) == 12
    assert corpus.clips[0] == Clip(
        id="0/0-m-20-0-0-0.wav",
        file=str(root / "0" / "0-m-20-0-0-0.wav"),
        labels={"emotion": "0", "gender": "m", "age": "20", "word": "0", "record": "0"},
        speaker="0",
    )
    assert Counter(clip.labels["emotion"] for clip in corpus.clips) == {"0": 4, "1": 4, "2": 4}
    assert (corpus.notes, corpus.left_out) == ([], {})


def test_baved_trusts_the_name_over_the_folder(tmp_path):
    corpus = baved(touch(tmp_path, *baved_names(), "0/49-m-23-6-1-201.wav"))
    (clip,) = [clip for clip in corpus.clips if clip.speaker == "49"]
    assert clip.labels["word"] == "6"
    (note,) = corpus.notes
    assert "0/49-m-23-6-1-201.wav" in note
    assert "trusted" in note


def test_baved_in_other_folders_needs_no_note(tmp_path):
    assert baved(touch(tmp_path, "wavs/49-m-23-6-1-201.wav")).notes == []


@pytest.mark.parametrize(("declared", "notes"), [("61", 1), ("2", 0)])
def test_baved_speakers_are_compared_with_its_readme(tmp_path, declared, notes):
    root = touch(tmp_path, *baved_names())
    (root / "README.md").write_text(f"# BAVED\n* **Number of speakers:** {declared}\n")
    corpus = baved(root)
    assert len(corpus.notes) == notes
    assert all("2 speakers" in note and "61" in note for note in corpus.notes)


def test_names_that_do_not_fit_are_left_out_with_a_reason(tmp_path):
    odd = ["0/copy of 0-m-20-0-0-0.wav", "1/0-x-20-1-0-9.wav", "2/0-m-20-7-0-9.wav", "2/0-m-20-2-3-9.wav"]
    corpus = baved(touch(tmp_path, *baved_names(), *odd))
    assert len(corpus.clips) == 12
    assert sorted(corpus.left_out) == sorted(odd)
    assert all("speaker-gender-age-word-level-record" in reason for reason in corpus.left_out.values())


def test_eyase(tmp_path):
    corpus = eyase(touch(tmp_path, *eyase_names(), "ml03_ang(130).wav", "ml03_joy (1).wav"))
    assert Counter(clip.labels["emotion"] for clip in corpus.clips) == {
        "ang": 5,
        "hap": 4,
        "neu": 4,
        "sad": 4,
    }
    assert Counter((clip.speaker, clip.labels["gender"]) for clip in corpus.clips) == {
        ("fm01", "f"): 8,
        ("ml02", "m"): 8,
        ("ml03", "m"): 1,
    }
    assert corpus.clips[0].id == "fm01_ang (1).wav"
    assert list(corpus.left_out) == ["ml03_joy (1).wav"]


def test_ksuemotions(tmp_path):
    corpus = ksuemotions(touch(tmp_path, *ksuemotions_names()))
    assert len(corpus.clips) == 48
    assert Counter(clip.labels["emotion"] for clip in corpus.clips) == dict.fromkeys(KSU_EMOTIONS, 8)
    clip = next(c for c in corpus.clips if c.id.endswith("Phase_2/E05/D05E05P003S01T01.flac"))
    assert clip.labels == {"emotion": "anger", "sentence": "01", "trial": "01", "phase": "2"}
    assert clip.speaker == "P003"
    assert corpus.notes == []


def test_ksuemotions_phase_is_known_from_inside_it_too(tmp_path):
    root = touch(tmp_path, *ksuemotions_names())
    corpus = ksuemotions(root / "data" / "SPEECH" / "Phase_2")
    assert {clip.labels["phase"] for clip in corpus.clips} == {"2"}


def test_ksuemotions_flat_and_misplaced(tmp_path):
    flat = ksuemotions(touch(tmp_path / "flat", "D05E01P003S18T02.wav"))
    assert flat.clips[0].labels == {"emotion": "happiness", "sentence": "18", "trial": "02"}
    assert flat.notes == []
    misplaced = ksuemotions(touch(tmp_path / "wrong", "Phase_1/E02/D05E01P003S18T02.flac"))
    assert misplaced.clips[0].labels["emotion"] == "happiness"
    assert "E02/D05E01P003S18T02.flac" in misplaced.notes[0]


def anad_emotions(root: Path) -> dict[str, str]:
    names = [path.name for path in sorted(root.rglob("1sec*/1sec*/*.wav"))]
    return {name: ["happy", "surprised", "angry"][int(name[1]) - 1] for name in names}


def test_anad(tmp_path):
    root = touch(tmp_path, *anad_names())
    anad_table(root, anad_emotions(root))
    corpus = anad(root)
    assert [(c.speaker, c.labels) for c in corpus.clips[::2]] == [
        ("V1", {"emotion": "happy"}),
        ("V2", {"emotion": "surprised"}),
        ("V3", {"emotion": "angry"}),
    ]
    assert set(corpus.left_out) == {"V1.wav", "caller_Reciever_turns/V1_1.wav"}
    assert "video" in corpus.notes[0]
    assert "one emotion" in corpus.notes[1]


def test_anad_without_a_row_or_without_a_file(tmp_path):
    root = touch(tmp_path, *anad_names())
    emotions = anad_emotions(root)
    del emotions["V2_1 (2).wav"]
    anad_table(root, emotions | {"V8_1 (77).wav": "happy", "V1_1 (1).wav": "angry"})
    corpus = anad(root)
    assert len(corpus.clips) == 5
    assert "ANAD.csv" in corpus.left_out["1sec_segmented_part1/1sec_segmented_part1/V2_1 (2).wav"]
    assert not any("one emotion" in note for note in corpus.notes)
    assert any("not found" in note and "V8_1 (77)" in note for note in corpus.notes)


def test_anad_with_emotions_in_the_names(tmp_path):
    corpus = anad(touch(tmp_path, "V1_happy (1).wav", "V2_angry (1).wav", "V2_1 (2).wav"))
    assert [clip.labels["emotion"] for clip in corpus.clips] == ["happy", "angry"]
    assert list(corpus.left_out) == ["V2_1 (2).wav"]


def test_anad_without_emotions_is_refused(tmp_path):
    root = touch(tmp_path, *anad_names())
    with pytest.raises(InputError, match=r"looked for the emotions in ANAD\.csv, found no such table"):
        anad(root)
    (root / "ANAD.csv").write_text("file,label\nV1_1 (1).wav,happy\n")
    with pytest.raises(InputError, match="looked for columns 'name' and 'Emotion', found file, label"):
        anad(root)
    (root / "ANAD.csv").write_bytes(b"name,Emotion \n\x81,happy\n")
    with pytest.raises(ManifestError, match="UTF-8"):
        anad(root)


def test_plain_folders(tmp_path):
    names = ["سعيد/a.wav", "happy/b.FLAC", "happy/deep/c.mp3", "loose.wav", "happy/d.ape", "happy/notes.txt"]
    corpus = labelled_folders(touch(tmp_path, *names))
    assert [(c.id, c.labels, c.speaker) for c in corpus.clips] == [
        ("happy/b.FLAC", {"emotion": "happy"}, None),
        ("happy/deep/c.mp3", {"emotion": "happy"}, None),
        ("سعيد/a.wav", {"emotion": "سعيد"}, None),
    ]
    assert set(corpus.left_out) == {"loose.wav", "happy/d.ape"}
    assert "speaker" in corpus.notes[0]


def test_folders_of_speakers_are_no_labels(tmp_path):
    names = [f"Actor_{k:02}/03-01-0{k % 8}.wav" for k in range(1, 25)]
    with pytest.raises(InputError, match=r"folders of speakers \(Actor_01, Actor_02, Actor_03 and 21 more\)"):
        labelled_folders(touch(tmp_path, *names))


@pytest.mark.parametrize(
    "speakers", [("Actor_01", "Actor_02"), ("speaker 1", "Speaker 2"), ("spk-f1", "spk-m2")]
)
def test_folders_of_labels_in_folders_of_speakers(tmp_path, speakers):
    first, second = speakers
    corpus = labelled_folders(touch(tmp_path, f"{first}/calm/a.wav", f"{second}/lively/x/b.wav"))
    assert {c.speaker: c.labels for c in corpus.clips} == {
        first: {"emotion": "calm"},
        second: {"emotion": "lively"},
    }
    assert "the folders in them for labels" in corpus.notes[0]


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (("03", "08"), ("anger", "boredom")),
        (("S1", "S2"), ("up", "down")),
        (("anna", "ben"), ("calm", "lively")),
        (("متحدث 03", "متحدث 08"), ("غضب", "فرح")),
        (("Sprecherin_1", "Sprecher_2"), ("eins", "zwei")),
    ],
)
def test_codes_and_names_above_labels_are_speakers(tmp_path, outer, inner):
    names = [f"{one}/{label}/{one}-{label}.wav" for one in outer for label in inner]
    corpus = labelled_folders(touch(tmp_path, *names))
    assert {(c.speaker, c.labels["emotion"]) for c in corpus.clips} == set(product(outer, inner))
    assert "taken for speakers" in corpus.notes[0]


def test_folders_below_labels_stay_below_them(tmp_path):
    """Speakers or sessions in folders of labels, and folders whose names occur once."""
    for number, inner in enumerate((("03", "08"), ("take1", "take2"), ("anna", "ben"))):
        root = tmp_path / str(number)
        names = [f"{label}/{one}/{label}.wav" for label in ("calm", "angry") for one in inner]
        corpus = labelled_folders(touch(root, *names))
        assert {clip.labels["emotion"] for clip in corpus.clips} == {"calm", "angry"}
    corpus = labelled_folders(touch(tmp_path / "deep", "yes/a/1.wav", "no/b/2.wav"))
    assert {clip.labels["emotion"] for clip in corpus.clips} == {"yes", "no"}


def test_folders_that_may_be_either_are_refused_with_both_readings(tmp_path):
    names = [f"{one}/{other}/x.wav" for one in ("anna", "ben") for other in ("yes", "no")]
    with pytest.raises(InputError) as error:
        labelled_folders(touch(tmp_path, *names))
    line = str(error.value)
    assert "folders in folders (anna, ben above no, yes), and either may be labels" in line
    assert f"manifest pattern {tmp_path} '{{speaker}}/{{emotion}}/*' --out TABLE" in line
    corpus = read_pattern(tmp_path, "{speaker}/{emotion}/*").corpus
    assert {(c.speaker, c.labels["emotion"]) for c in corpus.clips} == set(
        product(("anna", "ben"), ("yes", "no"))
    )


def test_folders_that_may_be_speakers_are_noted(tmp_path):
    corpus = labelled_folders(touch(tmp_path, "S01/a.wav", "S02/b.wav"))
    assert {clip.labels["emotion"] for clip in corpus.clips} == {"S01", "S02"}
    assert "are S01, S02 labels, not speakers?" in corpus.notes[1]


def test_annotation_files_are_noted(tmp_path):
    corpus = labelled_folders(touch(tmp_path, "calm/a.wav", "calm/a.TextGrid", "lively/b.wav", "b.eaf"))
    assert any("2 annotation files not read" in note for note in corpus.notes)


def test_plain_folders_without_labels(tmp_path):
    with pytest.raises(InputError, match=r"looked for LABEL/\*\.wav, found a\.wav, b\.wav"):
        labelled_folders(touch(tmp_path, "a.wav", "b.wav"))


@pytest.mark.parametrize("reader", [r for name, r in CORPORA.items() if name not in ("folder", *LABELLED)])
def test_a_tree_of_another_corpus_is_refused_with_what_was_found(tmp_path, reader):
    root = touch(tmp_path, *(f"x/take{i}.wav" for i in range(5)))
    with pytest.raises(
        InputError, match=r"looked for names like .*, found x/take0\.wav, .* and 2 more"
    ) as caught:
        reader(root)
    assert str(root) in str(caught.value)


@pytest.mark.parametrize("reader", CORPORA.values())
def test_missing_folders(tmp_path, reader):
    with pytest.raises(InputError, match="no such folder"):
        reader(tmp_path / "gone")


def test_a_corpus_survives_a_table_elsewhere(tmp_path):
    clips = baved(touch(tmp_path / "corpus", *baved_names())).clips
    write_manifest(clips, tmp_path / "tables" / "clips.csv")
    again = read_manifest(tmp_path / "tables" / "clips.csv")
    assert again == clips


@pytest.mark.skipif(not BAVED, reason="LAYERPROBE_BAVED does not say where BAVED is")
def test_the_real_baved():
    corpus = baved(Path(BAVED or ""))
    assert len(corpus.clips) == 1935
    assert len({clip.speaker for clip in corpus.clips}) == 60
    assert Counter(clip.labels["emotion"] for clip in corpus.clips) == {"0": 585, "1": 672, "2": 678}
    assert len(corpus.notes) == 2
    assert corpus.left_out == {}


def test_emodb(tmp_path):
    root = touch(tmp_path, "wav/03a01Fa.wav", "wav/08b10Wb.flac", "wav/16a05N.wav", "wav/3a01Fa.wav", "a.txt")
    corpus = emodb(root)
    assert corpus.clips[0] == Clip(
        id="wav/03a01Fa.wav",
        file=str(root / "wav" / "03a01Fa.wav"),
        labels={"emotion": "happiness", "text": "a01", "version": "a", "gender": "m"},
        speaker="03",
    )
    assert [(clip.speaker, clip.labels["emotion"], clip.labels["gender"]) for clip in corpus.clips[1:]] == [
        ("08", "anger", "f"),
        ("16", "neutral", "f"),
    ]
    assert list(corpus.left_out) == ["wav/3a01Fa.wav"]


@pytest.mark.skipif(EMODB is None, reason="LAYERPROBE_EMODB names no copy of EMO-DB")
def test_the_real_emodb():
    corpus = emodb(Path(str(EMODB)))
    assert len(corpus.clips) == 535
    assert len({clip.speaker for clip in corpus.clips}) == 10
    assert len({clip.labels["text"] for clip in corpus.clips}) == 10
    assert Counter(clip.labels["emotion"] for clip in corpus.clips) == {
        **{"anger": 127, "boredom": 81, "disgust": 46, "fear": 69},
        **{"happiness": 71, "sadness": 62, "neutral": 79},
    }
    assert corpus.left_out == {}
