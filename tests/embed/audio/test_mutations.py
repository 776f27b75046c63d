"""Truncated and bit-flipped files of every format: refused, or read like the intact file."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.audio.decoding import open_decoder
from tests.sounds import COMPRESSED, FORMATS, clip_of, encoded, noise, sound_file

pytestmark = pytest.mark.soak

HEADERS = ("AIFF", "AU", "CAF", "RF64", "W64", "SVX", "NIST", "VOC")
CHECKSUMS = ("flac", "ogg", "opus")  # one in each frame or page
KINDS = (*FORMATS, *COMPRESSED, *HEADERS)
# Nothing in these says where the sound ends, so that a cut between two frames cannot be seen.
ENDLESS = ("amr", "aac", "mp2")
SEEDS = range(3)


def written(path, kind: str, seed: int):
    if kind in COMPRESSED:
        return encoded(path, noise(2 * COMPRESSED[kind][2], seed=seed, level=0.3), kind=kind)
    if kind in HEADERS:
        soundfile.write(path, noise(32_000, seed=seed), 16_000, format=kind, subtype="PCM_16")
        return path
    return sound_file(path.with_suffix(f".{kind}"), noise(32_000, seed=seed, level=0.3)).path


def read(path) -> np.ndarray | None:
    """The samples, or None where the file is refused; anything else than a ClipError is a fault."""
    return sound_of(path)[0]


def sound_of(path) -> tuple[np.ndarray | None, tuple[int, int, str] | None]:
    """The samples as `read` gives them, and rate, channels and encoding of the file."""
    clip = clip_of(path)
    try:
        info = audio.probe(clip)
        with open_decoder(clip) as decoder:
            return audio.read_clip(clip, info), (info.rate, info.channels, decoder.encoding)
    except ClipError:
        return None, None


def frame(kind: str) -> int:
    """Samples at 16 kHz of two frames; of an MP3 four, with the encoder's delay."""
    if kind == "mp3":
        return 4 * 576
    _, _, rate, _, samples = COMPRESSED.get(kind, ("", "", 16_000, 1, 0))
    return -(-2 * samples * 16_000 // rate)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused(tmp_path, kind, seed):
    path = written(tmp_path / "a", kind, seed)
    data, intact = path.read_bytes(), read(path)
    assert intact is not None
    rng = np.random.default_rng(seed)
    for size in rng.integers(1, len(data) - 64, 10).tolist():
        path.write_bytes(data[:size])
        got = read(path)
        if got is not None:
            assert kind in ENDLESS or len(got) == len(intact), size
            count = min(len(got), len(intact)) - frame(kind)
            np.testing.assert_allclose(got[:count], intact[:count], rtol=0, atol=1e-5)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_or_moves_no_sound(tmp_path, kind, seed):
    path = written(tmp_path / "a", kind, seed)
    data, (intact, form) = path.read_bytes(), sound_of(path)
    assert intact is not None
    rng = np.random.default_rng(seed)
    within = rng.integers(0, 8 * len(data), 10).tolist()
    header = rng.integers(0, 8 * 200, 10).tolist()
    for bit in within + header:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        got, now = sound_of(path)
        if got is None:
            continue
        if kind in CHECKSUMS:
            np.testing.assert_array_equal(got, intact)
        elif now == form and kind not in ENDLESS:  # nothing confirms what form a header declares
            assert abs(len(got) - len(intact)) <= frame(kind), bit
