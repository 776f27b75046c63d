from __future__ import annotations

import struct

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.audio.wav import closed
from tests.sounds import clip_of, noise, sound_file


def unclosed(path, *, riff=0, length=0, behind=b"", before=b""):
    """A copy of a WAV file with these two lengths, a chunk before its sound and bytes behind it."""
    data = path.read_bytes()
    at = data.index(b"data")
    told = data[:4] + struct.pack("<I", riff) + data[8:at] + before + b"data" + struct.pack("<I", length)
    copy = path.with_name("unclosed.wav")
    copy.write_bytes(told + data[at + 8 :] + behind)
    return clip_of(copy)


def heard(clip):
    return audio.read_clip(clip, audio.probe(clip))


@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF])  # not come back to, counted so far, piped
@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 1)])
def test_what_a_recorder_left_open_is_heard_to_its_end(tmp_path, riff, subtype, channels):
    whole = sound_file(tmp_path / "a.wav", noise(20_000, channels=channels), subtype=subtype)
    copy = unclosed(whole.path, riff=riff)
    np.testing.assert_array_equal(heard(copy), heard(whole))
    segment = clip_of(copy.path, start=0.25, end=0.75)
    np.testing.assert_array_equal(heard(segment), heard(whole)[4_000:12_000])


def test_chunks_before_the_sound_and_half_a_sample_at_its_end_do_no_harm(tmp_path):
    whole = sound_file(tmp_path / "a.wav", noise(9_000))
    copy = unclosed(whole.path, before=struct.pack("<4sI", b"LIST", 5) + b"INFO!\0", behind=b"\1")
    np.testing.assert_array_equal(heard(copy), heard(whole))


def test_an_empty_file_that_was_closed_stays_empty(tmp_path):
    whole = sound_file(tmp_path / "a.wav", noise(4))
    notes = struct.pack("<4sI", b"LIST", 1000) + bytes(1000)
    copy = unclosed(whole.path, riff=len(whole.path.read_bytes()) - 8 + len(notes), behind=notes)
    with pytest.raises(ClipError, match="a header without data"):
        audio.probe(copy)


@pytest.mark.parametrize("keep", [0, 8, 20, 44, 60])
def test_other_files_are_left_alone(tmp_path, keep):
    path = sound_file(tmp_path / "a.wav", noise(1_000)).path
    path.write_bytes(path.read_bytes()[:keep])
    with path.open("rb") as raw:
        assert closed(raw) is None
