"""Which files of a folder are sound."""

from __future__ import annotations

import os
import re

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.corpora import find_audio_files, some
from tests.trees import touch


def found(root) -> list[str]:
    return [str(sound) for sound in find_audio_files(root).found]


def test_sound_is_told_by_its_suffix_in_any_case_and_sorted(tmp_path):
    root = touch(tmp_path, "b/x.WAV", "a.flac", "b/a b.mp3", "c/d/e.ogg", "notes.txt", "wav")
    assert found(root) == ["a.flac", "b/a b.mp3", "b/x.WAV", "c/d/e.ogg"]


def test_what_a_mac_adds_is_not_sound(tmp_path):
    assert found(touch(tmp_path, "a.wav", "._a.wav", "__MACOSX/a.wav", ".hidden/a.wav")) == ["a.wav"]


def test_linked_folders_are_entered_once(tmp_path):
    root = touch(tmp_path / "root", "a/x.wav")
    touch(tmp_path / "other", "y.wav")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "a" / "round").symlink_to(root)
    assert found(root) == ["a/x.wav", "linked/y.wav"]


def test_a_name_that_no_table_can_hold_is_left_out(tmp_path):
    root = touch(tmp_path, "a.wav", os.fsdecode(b"b/caf\xe9.wav"))
    sounds = find_audio_files(root)
    assert [str(sound) for sound in sounds.found] == ["a.wav"]
    assert sounds.left_out == {"b/caf\\xe9.wav": "has a name that is not UTF-8; rename it"}


def test_sound_that_cannot_be_decoded_is_told(tmp_path):
    sounds = find_audio_files(touch(tmp_path, "a.wav", "b/c.m4a"))
    assert list(sounds.left_out) == ["b/c.m4a"]
    assert "convert" in sounds.left_out["b/c.m4a"]


@pytest.mark.parametrize(("names", "told"), [([], "nothing"), (["a.txt", "b.m4a"], "b.m4a, a.txt")])
def test_a_folder_without_sound_says_what_it_has(tmp_path, names, told):
    with pytest.raises(InputError, match=f"found {told}"):
        find_audio_files(touch(tmp_path, *names))


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="is a file"):
        find_audio_files(touch(tmp_path, "a.wav") / "a.wav")


def test_whole_names_must_fit(tmp_path):
    sounds = find_audio_files(touch(tmp_path, "x1.wav", "x1.5.wav", "x12.wav", "ax1.wav"))
    fitting = sounds.named(re.compile(r"x(?P<n>\d+)"), like="x1.wav")
    assert {str(sound): parts for sound, parts in fitting.items()} == {
        "x1.wav": {"n": "1"},
        "x12.wav": {"n": "12"},
    }
    assert sorted(sounds.left_out) == ["ax1.wav", "x1.5.wav"]


def test_some_of_many():
    assert some([]) == "nothing"
    assert some([1, 2, 3]) == "1, 2, 3"
    assert some("abcde", shown=2) == "a, b and 3 more"
