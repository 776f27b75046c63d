from __future__ import annotations

import struct

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerprobe.embed.audio.wav import missing_bytes
from tests.sounds import FORMATS, noise, sound_file

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_misses_nothing(tmp_path, kind):
    assert missing_bytes(sound_file(tmp_path / f"a.{kind}", noise(16_000)).path) == 0


@in_one_folder
@given(lost=st.integers(1, 31_999))
def test_every_byte_cut_off_a_wav_file_is_missed(tmp_path, lost):
    path = tmp_path / "a.wav"
    if not path.exists():
        sound_file(path, noise(16_000))
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes()[:-lost])
    assert missing_bytes(cut) == lost


def test_chunks_before_the_sound_are_stepped_over(tmp_path):
    path = sound_file(tmp_path / "a.wav", noise(1_000)).path
    data = path.read_bytes()
    odd = struct.pack("<4sI", b"LIST", 5) + b"INFO!" + b"\0"
    path.write_bytes(data[:12] + odd + data[12:])
    assert missing_bytes(path) == 0
    path.write_bytes(path.read_bytes()[:-9])
    assert missing_bytes(path) == 9


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])  # as ffmpeg and SoX write to a pipe
def test_a_streamed_wav_file_of_open_length_is_whole(tmp_path, length):
    path = sound_file(tmp_path / "a.wav", noise(1_000)).path
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + struct.pack("<I", length) + data[at + 4 :])
    assert missing_bytes(path) == 0
    assert len(soundfile.read(path)[0]) == 1_000


@pytest.mark.parametrize("name", ["empty", "text"])
def test_other_files_are_none_of_its_business(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"" if name == "empty" else b"hello")
    assert missing_bytes(path) == 0
