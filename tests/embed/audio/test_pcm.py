"""Plain WAV files are read as a decoder reads them; every other file is left to the decoders."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.identity.hashing import stamp_of
from layerprobe.embed.audio import pcm, sound
from layerprobe.embed.audio.decoding import Selection
from layerprobe.embed.manifest.clips import Clip
from tests.run import tone

RATE = 16_000


def wav(*chunks: bytes, length: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def chunk(name: bytes, content: bytes, *, length: int | None = None) -> bytes:
    return (
        name
        + struct.pack("<I", len(content) if length is None else length)
        + content
        + b"\0" * (len(content) % 2)
    )


def fmt(*, tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, more: bytes = b"") -> bytes:
    align = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits) + more)


SAMPLES = (tone(0.5, seed=3) * 30_000).astype("<i2")
DATA = chunk(b"data", SAMPLES.tobytes())
LIST = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0")
EXTENSIBLE = struct.pack("<HHI", 22, 16, 4) + pcm._PCM_GUID

PLAIN = {
    "canonical": wav(fmt(), DATA),
    "format of 18 bytes": wav(fmt(more=b"\0\0"), DATA),
    "extensible": wav(fmt(tag=0xFFFE, more=EXTENSIBLE), DATA),
    "a list before": wav(fmt(), LIST, DATA),
    "a list after": wav(fmt(), DATA, LIST),
    "two chunks after": wav(fmt(), DATA, chunk(b"id3 ", b"odd"), LIST),
}
OTHER = {
    "empty": b"",
    "text": b"not sound" * 20,
    "stereo": wav(fmt(channels=2), DATA),
    "another rate": wav(fmt(rate=44_100), DATA),
    "8 bits": wav(fmt(bits=8), DATA),
    "24 bits": wav(fmt(bits=24), chunk(b"data", bytes(3_000))),
    "float": wav(fmt(tag=3, bits=32), DATA),
    "mu-law": wav(fmt(tag=7, bits=8), DATA),
    "extensible float": wav(fmt(tag=0xFFFE, more=EXTENSIBLE[:8] + b"\3" + EXTENSIBLE[9:]), DATA),
    "no samples": wav(fmt(), chunk(b"data", b"")),
    "an odd length": wav(fmt(), chunk(b"data", SAMPLES.tobytes()[:-1])),
    "truncated": wav(fmt(), DATA)[:-2],
    "trailing bytes": wav(fmt(), DATA) + bytes(100),
    "a longer data chunk": wav(fmt(), chunk(b"data", SAMPLES.tobytes(), length=2 * len(SAMPLES) + 2)),
    "unknown length": wav(fmt(), chunk(b"data", SAMPLES.tobytes(), length=0xFFFFFFFF)),
    "two chunks of samples": wav(fmt(), DATA, DATA),
    "sound after the samples": wav(fmt(), DATA, b"\x12\x80" * 40),
    "a chunk before that is none": wav(fmt(), chunk(b"junk", bytes(16)), DATA),
    "a list that is cut": wav(fmt(), DATA, LIST[:-4]),
    "two files": wav(fmt(), DATA) * 2,
    "64-bit": b"RF64" + wav(fmt(), DATA)[4:],
    "big-endian": b"RIFX" + wav(fmt(), DATA)[4:],
    "a tag before": b"ID3\4\0\0\0\0\0\0" + wav(fmt(), DATA),
}


def write(folder: Path, content: bytes) -> Clip:
    path = folder / "clip.wav"
    path.write_bytes(content)
    return Clip(id="clip", file=str(path))


def decoded(clip: Clip, info: sound.AudioInfo, *, normalise: bool) -> np.ndarray:
    """The way of every other file, to the last bit."""
    wave = sound.read_clip(clip, info)
    if not normalise:
        return wave
    return sound.normalise(wave, float(wave.mean(dtype=np.float64)), float(wave.var(dtype=np.float64)))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_file_is_read_as_by_a_decoder(tmp_path, name, normalise):
    clip = write(tmp_path, PLAIN[name])
    info = sound.probe(clip)
    assert info.plain
    found = sound.read_plain(clip, info)
    assert found is not None
    row = np.empty(info.samples, np.float32)
    found.fill(row, normalise=normalise)
    np.testing.assert_array_equal(row, decoded(clip, info, normalise=normalise))
    assert found.stamp == stamp_of(clip.path.stat())
    other, _ = soundfile.read(clip.file, dtype="int16")
    np.testing.assert_array_equal(found.values, other)


@pytest.mark.parametrize("name", OTHER)
def test_anything_unusual_is_left_to_the_decoders(tmp_path, name):
    assert pcm.find_plain(write(tmp_path, OTHER[name]).file) is None


def test_what_cannot_be_opened_is_not_plain(tmp_path):
    assert pcm.find_plain(str(tmp_path / "missing.wav")) is None
    assert pcm.find_plain(str(tmp_path)) is None
    os.mkfifo(tmp_path / "pipe.wav")
    assert pcm.find_plain(str(tmp_path / "pipe.wav")) is None


@pytest.mark.parametrize(("start", "end"), [(0.1, None), (None, 0.3), (0.05, 0.4), (0.0, 0.5)])
def test_a_segment_is_read_as_by_a_decoder(tmp_path, start, end):
    whole = write(tmp_path, PLAIN["a list before"])
    clip = Clip(id="segment", file=whole.file, start=start, end=end)
    info = sound.probe(clip)
    found = sound.read_plain(clip, info)
    assert found is not None
    row = np.empty(info.samples, np.float32)
    found.fill(row, normalise=True)
    np.testing.assert_array_equal(row, decoded(clip, info, normalise=True))


def test_segments_that_do_not_fit_the_file_are_refused_in_the_same_words(tmp_path):
    """Whether a decoder or the header alone says how long the file is."""
    reasons = []
    for name in ("canonical", "a chunk before that is none"):
        whole = write(tmp_path, {**PLAIN, **OTHER}[name])
        for start, end in ((0.6, None), (0.1, 0.7), (0.3, 0.2), (0.1, 0.11)):
            with pytest.raises(ClipError) as error:
                sound.probe(Clip(id="segment", file=whole.file, start=start, end=end))
            reasons.append(str(error.value))
    assert reasons[:4] == reasons[4:]


@pytest.mark.parametrize("seed", range(20))
def test_moments_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-32_768, 32_768, rng.integers(2, 4_000)).astype("<i2")
    mean, variance = pcm.Samples(values, b"").moments()
    exact = values.astype(np.float64) / 32_768
    assert mean == exact.mean()
    np.testing.assert_allclose(variance, exact.var(), rtol=1e-13)


def test_a_silent_clip_is_refused(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(RATE, 0.25), RATE, format="WAV", subtype="PCM_16")
    clip = write(tmp_path, buffer.getvalue())
    with pytest.raises(ClipError, match="silent: every sample has the same value"):
        sound.read_plain(clip, sound.probe(clip))


def test_a_file_that_became_shorter_is_left_to_the_decoder(tmp_path):
    clip = write(tmp_path, PLAIN["canonical"])
    info = sound.probe(clip)
    os.truncate(clip.file, 1_000)
    assert sound.read_plain(clip, info) is None
    clip.path.unlink()
    assert sound.read_plain(clip, info) is None


def test_one_channel_of_a_mono_file_is_the_file_and_a_second_one_is_refused(tmp_path):
    clip = write(tmp_path, PLAIN["canonical"])
    assert sound.probe(clip, Selection(channel=0)).plain
    with pytest.raises(ClipError, match="has no channel 1"):
        sound.probe(clip, Selection(channel=1))
    with pytest.raises(ClipError, match="has 1 audio track, not 2"):
        sound.probe(clip, Selection(track=2))
