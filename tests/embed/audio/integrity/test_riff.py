from __future__ import annotations

import struct
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerprobe.embed.audio.integrity import riff
from tests.sounds import FORMATS, noise, sound_file


def find_damage(path: Path) -> str | None:
    with path.open("rb") as raw:
        return riff.check(raw).damage


in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", FORMATS)
def test_an_intact_file_has_no_damage(tmp_path, kind):
    assert find_damage(sound_file(tmp_path / f"a.{kind}", noise(16_000)).path) is None


@in_one_folder
@given(lost=st.integers(1, 31_999))
def test_every_byte_cut_off_is_missing(tmp_path, lost):
    path = tmp_path / "a.wav"
    if not path.exists():
        sound_file(path, noise(16_000))
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes()[:-lost])
    assert find_damage(cut) == f"truncated: its header declares {lost} more bytes than the file has"


def test_chunks_before_the_samples_are_skipped(tmp_path):
    path = sound_file(tmp_path / "a.wav", noise(1_000)).path
    data = path.read_bytes()
    odd = struct.pack("<4sI", b"LIST", 5) + b"INFO!" + b"\0"
    path.write_bytes(data[:12] + odd + data[12:])
    assert find_damage(path) is None
    path.write_bytes(path.read_bytes()[:-9])
    assert str(find_damage(path)).startswith("truncated: its header declares 9 more bytes")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])  # as ffmpeg and SoX write to a pipe
def test_a_streamed_file_of_unknown_length_is_intact(tmp_path, length):
    path = sound_file(tmp_path / "a.wav", noise(1_000)).path
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + struct.pack("<I", length) + data[at + 4 :])
    assert find_damage(path) is None
    assert len(soundfile.read(path)[0]) == 1_000


@pytest.mark.parametrize("name", ["empty", "text"])
def test_other_files_are_ignored(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"" if name == "empty" else b"hello")
    assert find_damage(path) is None
