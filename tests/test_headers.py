from __future__ import annotations

import re
import struct
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed.headers import missing_bytes, uncounted_mp3_samples
from tests.sounds import FORMATS, clip_of, noise, sound_file, without_first_mp3_frame

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


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_a_cut_within_a_page_of_ogg_is_seen(tmp_path, kind):
    path = sound_file(tmp_path / f"a.{kind}", noise(64_000)).path
    data = path.read_bytes()
    pages = [found.start() for found in re.finditer(b"OggS", data)]
    assert len(pages) > 3
    for begin, end in pairwise([*pages, len(data)]):
        for size in (begin + 4, begin + 26, begin + 27, (begin + 27 + end) // 2, end - 1):
            path.write_bytes(data[:size])
            assert missing_bytes(path) > 0, f"cut at {size} of page {begin} to {end}"


@pytest.mark.parametrize("name", ["empty", "text"])
def test_other_files_are_none_of_its_business(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"" if name == "empty" else b"hello")
    assert missing_bytes(path) == 0


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_of_mp3_are_counted_where_nobody_wrote_their_number_down(tmp_path, rate, channels):
    path = sound_file(tmp_path / "a.mp3", noise(rate, channels=channels), rate, mode="CONSTANT").path
    assert uncounted_mp3_samples(path) is None
    with soundfile.SoundFile(path) as file:
        counted = file.frames
    samples = uncounted_mp3_samples(without_first_mp3_frame(path))
    # Encoders pad by a decoder's delay and fill up the last frame.
    assert samples is not None
    assert counted < samples <= counted + 3 * 1_152
    assert samples % 576 == 0


def test_a_tag_before_the_sound_is_stepped_over(tmp_path):
    path = without_first_mp3_frame(sound_file(tmp_path / "a.mp3", noise(16_000), mode="CONSTANT").path)
    samples = uncounted_mp3_samples(path)
    path.write_bytes(b"ID3\x04\0\0" + bytes([0, 0, 2, 1]) + b"\0" * 257 + path.read_bytes())
    assert uncounted_mp3_samples(path) == samples


def test_what_is_no_mp3_frame_is_not_counted(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(np.random.default_rng(0).bytes(3_000).replace(b"\xff", b"\0"))
    assert uncounted_mp3_samples(clip_of(path).path) is None
