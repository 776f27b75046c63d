from __future__ import annotations

import struct

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from tests.sounds import clip_of, noise, sound_file


def without_lengths(path, *, riff=0, length=0, after=b"", before=b""):
    """A copy of a WAV file with these two lengths, a chunk before its samples and bytes after them."""
    data = path.read_bytes()
    at = data.index(b"data")
    header = data[:4] + struct.pack("<I", riff) + data[8:at] + before + b"data" + struct.pack("<I", length)
    copy = path.with_name("copy.wav")
    copy.write_bytes(header + data[at + 8 :] + after)
    return clip_of(copy)


def read(clip):
    return audio.read_clip(clip, audio.probe(clip))


@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF])  # never written, counted so far, piped
@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 1)])
def test_a_file_without_lengths_is_read_to_its_end(tmp_path, riff, subtype, channels):
    complete = sound_file(tmp_path / "a.wav", noise(20_000, channels=channels), subtype=subtype)
    copy = without_lengths(complete.path, riff=riff)
    np.testing.assert_array_equal(read(copy), read(complete))
    segment = clip_of(copy.path, start=0.25, end=0.75)
    np.testing.assert_array_equal(read(segment), read(complete)[4_000:12_000])


def test_chunks_before_the_samples_and_half_a_sample_at_the_end_are_ignored(tmp_path):
    complete = sound_file(tmp_path / "a.wav", noise(9_000))
    copy = without_lengths(complete.path, before=struct.pack("<4sI", b"LIST", 5) + b"INFO!\0", after=b"\1")
    np.testing.assert_array_equal(read(copy), read(complete))


def test_an_empty_file_with_lengths_stays_empty(tmp_path):
    complete = sound_file(tmp_path / "a.wav", noise(4))
    notes = struct.pack("<4sI", b"LIST", 1000) + bytes(1000)
    copy = without_lengths(complete.path, riff=len(complete.path.read_bytes()) - 8 + len(notes), after=notes)
    with pytest.raises(ClipError, match="a header without data"):
        audio.probe(copy)
