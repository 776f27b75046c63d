"""Channels that cancel when they are averaged are reported as that, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from tests.sounds import clip_of, noise, sound_file


def refusal(clip):
    with pytest.raises(ClipError) as caught:
        audio.read_clip(clip, audio.probe(clip))
    return caught.value.reason


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("level", [0.0, 1e-5, 0.05])
def test_an_inverted_channel_is_reported(tmp_path, rate, level):
    wave = noise(rate)
    rest = level * wave.std() * np.random.default_rng(1).standard_normal(rate).astype(np.float32)
    clip = sound_file(tmp_path / "a.wav", np.stack([wave, rest - wave], 1), rate, subtype="FLOAT")
    assert refusal(clip).startswith("its channels cancel when they are averaged: the level falls by ")
    moments = audio.measure_moments(clip, audio.probe(clip))
    assert moments.cancelled > 20
    # The advice holds for `predict`, too, which reads what its system was trained on.
    with pytest.raises(ClipError, match=r"channels cancel.*embed with --channels 0"):
        moments.check(clip)


def test_only_the_clip_s_own_samples_count(tmp_path):
    wave = noise(48_000)
    other = wave.copy()
    other[16_000:32_000] *= -1
    path = sound_file(tmp_path / "a.wav", np.stack([wave, other], 1)).path
    assert "channels cancel" in refusal(clip_of(path, start=1, end=2))
    for start, end in ((0, 1), (2, 3), (None, None)):
        clip = clip_of(path, start=start, end=end)
        audio.read_clip(clip, audio.probe(clip))


@pytest.mark.parametrize(
    "channels",
    {
        "the same": lambda a, b: [a, a],
        "independent": lambda a, b: [a, b],
        "one silent": lambda a, b: [a, 0 * a],
        "one of six": lambda a, b: [a, *[0 * a] * 5],
        "inverted and quieter": lambda a, b: [a, -0.7 * a],
        "opposite offsets": lambda a, b: [a + 0.5, a - 0.5],
        "a common offset": lambda a, b: [a + 0.5, a + 0.5],
    }.items(),
    ids=lambda item: item[0],
)
def test_other_channels_are_averaged(tmp_path, channels):
    wave = np.stack(channels[1](noise(16_000), noise(16_000, seed=1)), 1)
    clip = sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")
    np.testing.assert_allclose(audio.read_clip(clip, audio.probe(clip)), wave.mean(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_silence_is_still_silence(tmp_path, value):
    clip = sound_file(tmp_path / "a.wav", np.full((16_000, 2), value, np.float32), subtype="FLOAT")
    assert refusal(clip).startswith("silent")


@pytest.mark.parametrize("count", [2, 3, 6])
def test_long_clips_are_mixed_and_measured_as_a_whole(tmp_path, count):
    """Several blocks of decoding: the mean to the bit, and a loss that no single block has."""
    wave = np.stack([noise(100_001, seed=i) + 0.1 * i for i in range(count)], 1)
    wave[40_000:, 1:] = 0
    wave[40_000:, 0] *= 0.1
    wave[:40_000, 1] = -0.6 * wave[:40_000, 0]
    clip = sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")
    info = audio.probe(clip)
    expected = np.einsum("tc->t", wave) / np.float32(count)
    np.testing.assert_array_equal(audio.read_clip(clip, info), expected)
    power = wave.astype(np.float64).var(0).mean() / expected.astype(np.float64).var()
    assert audio.measure_moments(clip, info).cancelled == pytest.approx(10 * np.log10(power), abs=1e-9)
