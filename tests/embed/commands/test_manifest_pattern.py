"""`manifest pattern` and `manifest list` as a user runs them."""

from __future__ import annotations

import json

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.manifest.corpora.reading import read_pattern
from tests.run import cli, refused
from tests.trees import touch

PATTERN = "Actor_*/{_}-{_}-{emotion}-{_}-{_}-{_}-{speaker}.wav"
NAMES = [f"Actor_{k:02}/03-01-0{5 + k % 2}-01-01-01-{k:02}.wav" for k in range(1, 6)]


def test_a_table_from_file_names(tmp_path):
    touch(tmp_path / "R", *NAMES, "Actor_01/notes.wav")
    command = ("manifest", "pattern", "R", PATTERN, "--map", "emotion:05=angry", "--map", "emotion:09=x")
    done = cli(*command, "--out", "r.csv", cwd=tmp_path)
    assert done.returncode == 0
    clips = read_manifest(tmp_path / "r.csv")
    assert [clip.labels["emotion"] for clip in clips] == ["06", "angry", "06", "angry", "06"]
    assert [clip.speaker for clip in clips] == ["01", "02", "03", "04", "05"]
    text = done.stdout + done.stderr
    assert text.count("emotion=") == 3
    assert "Actor_02/03-01-05-01-01-01-02.wav: emotion=angry, speaker=02" in text
    assert "5 of 6 sound files match the pattern" in text
    assert "emotion 06: without a --map, unchanged" in text
    assert "emotion 09: has a --map, but no file has it" in text
    assert f"left out: Actor_01/notes.wav: does not match {PATTERN}" in text


@pytest.mark.parametrize(
    ("pattern", "maps", "line"),
    [
        ("{a}{b}.wav", [], "nothing separates {a} from {b}"),
        (PATTERN, ["text:1=2"], "--map names the field 'text'; the pattern has emotion, speaker"),
        (PATTERN, ["emotion"], "'emotion' is no map of a field"),
        (PATTERN, ["emotion:05=a", "emotion:05=b"], "two --map rename emotion:05"),
        ("{emotion}_{speaker}.wav", [], "looked for names like {emotion}_{speaker}.wav, found Actor_01/"),
        ("{emotion}-{speaker}.wav", [], "can be read in two ways"),
    ],
)
def test_bad_patterns_are_one_line(tmp_path, pattern, maps, line):
    with pytest.raises(InputError) as caught:
        read_pattern(touch(tmp_path, *NAMES), pattern, maps)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_pattern_writes_no_table(tmp_path):
    touch(tmp_path / "R", *NAMES)
    assert "no counterpart" in refused(cli("manifest", "pattern", "R", "{a", "--out", "r.csv", cwd=tmp_path))
    assert not (tmp_path / "r.csv").exists()


def test_without_speakers_there_is_a_note(tmp_path):
    parsed = read_pattern(touch(tmp_path, "calm_1.wav", "sad_2.wav"), "{mood}_{_}.wav")
    assert parsed.label == "mood"
    assert any("no speakers are known" in note for note in parsed.corpus.notes)


def test_known_corpora_are_listed(tmp_path):
    text = cli("manifest", "list", cwd=tmp_path).stdout
    assert "crema-d: Crowd-sourced Emotional Multimodal Actors Dataset; 7,442 clips; 91 speakers" in text
    assert "https://zenodo.org/records/1188976" in text
    entries = json.loads(cli("manifest", "list", "--json", cwd=tmp_path).stdout)
    assert {"name", "citation", "licence", "source", "clips"} <= entries[0].keys()
