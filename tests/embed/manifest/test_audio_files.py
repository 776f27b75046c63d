"""Which files of a folder are audio."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.audio_files import find_audio_files
from tests.trees import touch


def paths(root) -> list[str]:
    return [str(path) for path in find_audio_files(root).paths]


def test_audio_is_known_by_its_suffix_in_any_case_and_sorted(tmp_path):
    root = touch(tmp_path, "b/x.WAV", "a.flac", "b/a b.mp3", "c/d/e.ogg", "notes.txt", "wav")
    assert paths(root) == ["a.flac", "b/a b.mp3", "b/x.WAV", "c/d/e.ogg"]


def test_what_a_mac_adds_is_ignored(tmp_path):
    assert paths(touch(tmp_path, "a.wav", "._a.wav", "__MACOSX/a.wav", ".hidden/a.wav")) == ["a.wav"]


def test_linked_folders_are_searched_once(tmp_path):
    root = touch(tmp_path / "root", "a/x.wav")
    touch(tmp_path / "other", "y.wav")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "a" / "round").symlink_to(root)
    assert paths(root) == ["a/x.wav", "linked/y.wav"]


def test_a_name_that_no_table_can_hold_is_left_out(tmp_path):
    root = touch(tmp_path, "a.wav", os.fsdecode(b"b/caf\xe9.wav"))
    audio = find_audio_files(root)
    assert [str(path) for path in audio.paths] == ["a.wav"]
    assert audio.left_out == {"b/caf\\xe9.wav": "has a name that is not UTF-8; rename it"}


def test_audio_that_cannot_be_decoded_is_left_out(tmp_path):
    audio = find_audio_files(touch(tmp_path, "a.wav", "b/c.ape"))
    assert list(audio.left_out) == ["b/c.ape"]
    assert "convert" in audio.left_out["b/c.ape"]


@pytest.mark.parametrize(("names", "listed"), [([], "nothing"), (["a.txt", "b.ape"], "b.ape, a.txt")])
def test_a_folder_without_audio_is_refused_with_what_it_has(tmp_path, names, listed):
    with pytest.raises(InputError, match=f"found {listed}"):
        find_audio_files(touch(tmp_path, *names))


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="is a file"):
        find_audio_files(touch(tmp_path, "a.wav") / "a.wav")


def test_complete_names_must_match(tmp_path):
    audio = find_audio_files(touch(tmp_path, "x1.wav", "x1.5.wav", "x12.wav", "ax1.wav"))
    matches = audio.match(re.compile(r"x(?P<n>\d+)"), example="x1.wav")
    assert {str(path): fields for path, fields in matches.items()} == {
        "x1.wav": {"n": "1"},
        "x12.wav": {"n": "12"},
    }
    assert sorted(audio.left_out) == ["ax1.wav", "x1.5.wav"]


def test_every_suffix_of_a_format_that_is_decoded_is_known(tmp_path):
    names = [f"a{s}" for s in (".oga", ".mp2", ".awb", ".spx", ".wave", ".aifc", ".m4b", ".weba", ".3g2")]
    audio = find_audio_files(touch(tmp_path, *names, "b.mpg"))
    assert [str(path) for path in audio.paths] == sorted(names)
    assert list(audio.left_out) == ["b.mpg"]


@pytest.mark.parametrize("kind", ["WAV", "RF64", "FLAC", "OGG", "NIST", "AIFF", "CAF", "AU"])
def test_sound_under_any_name_is_found_by_its_content(tmp_path, kind):
    touch(tmp_path, "notes.dat", "LICENSE")
    for name in ("0001", "a.dat"):
        soundfile.write(tmp_path / name, np.zeros(100, np.float32), 16_000, format=kind)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    assert [str(path) for path in find_audio_files(tmp_path).paths] == ["0001", "a.dat"]
