"""Several tables as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError, ManifestError
from layerprobe.embed.manifest.clips import read_manifest, write_manifest
from layerprobe.embed.manifest.corpora import CORPORA
from layerprobe.embed.manifest.join import LabelMap, join_tables
from tests.trees import baved_names, eyase_names, touch

baved, eyase = (CORPORA[name] for name in ("baved", "eyase"))


@pytest.fixture
def tables(tmp_path) -> list[Path]:
    write_manifest(baved(touch(tmp_path / "b", *baved_names())).clips, tmp_path / "baved.csv")
    write_manifest(eyase(touch(tmp_path / "e", *eyase_names())).clips, tmp_path / "eyase.csv")
    return [tmp_path / "baved.csv", tmp_path / "eyase.csv"]


def emotions(clips, corpus: str) -> set[str]:
    return {clip.labels["emotion"] for clip in clips if clip.labels["corpus"] == corpus}


def test_two_corpora(tables):
    clips = join_tables(tables)
    assert [clip.labels["corpus"] for clip in clips] == ["baved"] * 12 + ["eyase"] * 16
    assert {clip.speaker for clip in clips} == {"baved:0", "baved:1", "eyase:fm01", "eyase:ml02"}
    assert clips[0].id == "baved:0/0-m-20-0-0-0.wav"
    assert all(clip.path.exists() for clip in clips)
    assert emotions(clips, "baved") | emotions(clips, "eyase") == {"0", "1", "2", "ang", "hap", "neu", "sad"}


def test_the_joined_table_is_read_back(tables, tmp_path):
    clips = join_tables(tables)
    write_manifest(clips, tmp_path / "both.csv")
    assert read_manifest(tmp_path / "both.csv") == clips


def test_the_same_table_under_two_names_keeps_its_speakers_apart(tables):
    clips = join_tables([tables[0], tables[0]], names=["one", "two"])
    assert len({clip.id for clip in clips}) == 24
    assert {clip.speaker for clip in clips} == {"one:0", "one:1", "two:0", "two:1"}


def test_a_clip_without_a_speaker_stays_without(tmp_path):
    touch(tmp_path, "a.wav")
    (tmp_path / "x.csv").write_text("path\na.wav\n")
    assert join_tables([tmp_path / "x.csv"])[0].speaker is None


def test_labels_are_mapped_once_in_one_corpus_or_in_all(tables):
    maps = [
        LabelMap.parse(text)
        for text in ["emotion:1=neu", "emotion:neu=1", "eyase/emotion:ang=2", "gender:f=w"]
    ]
    clips = join_tables(tables, maps=maps)
    assert emotions(clips, "baved") == {"0", "neu", "2"}
    assert emotions(clips, "eyase") == {"2", "hap", "1", "sad"}
    assert {clip.labels["gender"] for clip in clips} == {"m", "w"}


def test_a_map_for_one_corpus_precedes_one_for_all(tables):
    maps = [LabelMap.parse("eyase/gender:f=x"), LabelMap.parse("gender:f=y")]
    clips = join_tables(tables, maps=maps)
    assert {c.labels["gender"] for c in clips if c.labels["corpus"] == "eyase"} == {"x", "m"}
    assert {c.labels["gender"] for c in clips if c.labels["corpus"] == "baved"} == {"y", "m"}


def test_maps_that_fit_nothing_are_all_reported(tables):
    texts = ["emotion:happy=2", "mood:1=2", "ksu/emotion:ang=2", "emotion:1=neu"]
    with pytest.raises(ManifestError) as caught:
        join_tables(tables, maps=[LabelMap.parse(text) for text in texts])
    message = str(caught.value)
    assert len(caught.value.problems) == 3
    assert all(text in message for text in texts[:3])


def test_a_joined_table_is_not_joined_again(tables, tmp_path):
    write_manifest(join_tables(tables), tmp_path / "both.csv")
    with pytest.raises(InputError, match="'corpus' already"):
        join_tables([tmp_path / "both.csv", tables[0]])


def test_names_must_fit_the_tables(tables):
    with pytest.raises(InputError, match="two tables are called 'x'"):
        join_tables(tables, names=["x", "x"])
    with pytest.raises(InputError, match="2 tables but 1 names"):
        join_tables(tables, names=["x"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("emotion:1=neutral", LabelMap(column="emotion", old="1", new="neutral")),
        ("eyase/emotion:hap=2", LabelMap(corpus="eyase", column="emotion", old="hap", new="2")),
        ("mood:a:b/c=d=e", LabelMap(column="mood", old="a:b/c", new="d=e")),
        ("العاطفة:سعيد=فرح", LabelMap(column="العاطفة", old="سعيد", new="فرح")),
    ],
)
def test_maps_are_parsed(text, expected):
    assert LabelMap.parse(text) == expected
    assert LabelMap.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "emotion", "emotion:1", "emotion=1", ":1=2", "emotion:=2", "emotion:1="]
)
def test_texts_that_are_no_map(text):
    with pytest.raises(InputError, match="label map"):
        LabelMap.parse(text)
