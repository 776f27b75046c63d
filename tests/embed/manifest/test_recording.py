"""Simulated recordings: the same sound by another device, in another room, with noise, at another level."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.embed.config import RATE
from layerprobe.embed.manifest.recording import NOISE, PEAK, _equalise, _pink, _reverberate, record
from layerprobe.embed.manifest.synthetic import make_corpus
from tests.run import tone


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return tone(1.0, seed=0).astype(np.float64)


def test_length_peak_and_seed(sound):
    recordings = [record(sound, generator(seed)) for seed in range(8)]
    for recording in recordings:
        assert len(recording) == len(sound)
        assert PEAK[0] <= 20 * np.log10(np.abs(recording).max()) <= PEAK[1]
    assert np.array_equal(recordings[3], record(sound, generator(3)))
    assert len({recording.tobytes() for recording in recordings}) == 8


def test_the_noise_is_as_far_below_the_voice_as_stated():
    voiced = np.concatenate([np.sin(np.arange(RATE) / 3), np.zeros(RATE)])  # a pause shows the noise alone
    for seed in range(8):
        recording = record(voiced, generator(seed))
        noise = recording[-RATE // 4 :].std()  # half a second of echo has decayed by then
        ratio = 20 * np.log10(recording[:RATE].std() / noise)
        assert NOISE[0] <= ratio <= NOISE[1] + 6


def test_pink_noise_loses_three_decibels_an_octave():
    power = np.mean([np.abs(np.fft.rfft(_pink(RATE, generator(seed)))) ** 2 for seed in range(20)], axis=0)
    octaves = [power[2**k : 2 ** (k + 1)].sum() for k in range(5, 12)]
    assert max(octaves) < 1.25 * min(octaves)


def test_the_equaliser_changes_magnitudes_and_the_room_adds_an_echo_after_the_sound(sound):
    equalised = _equalise(sound, generator(0))
    changes = 20 * np.log10(np.abs(np.fft.rfft(equalised)[10:7000]) / np.abs(np.fft.rfft(sound)[10:7000]))
    assert 3 < np.ptp(changes) < 60
    click = np.zeros(RATE)
    click[100] = 1.0
    echo = _reverberate(click, generator(0))
    assert np.abs(echo[:99]).max() < 1e-12
    early, late = echo[101:900].std(), echo[7000:9000].std()
    assert early > 10 * late


def test_a_varied_corpus_has_the_same_names_and_other_sound(tmp_path):
    plain = make_corpus(tmp_path / "plain", speakers=2, words=1)
    varied = make_corpus(tmp_path / "varied", speakers=2, words=1, varied=True)
    names = sorted(path.relative_to(plain) for path in plain.rglob("*.wav"))
    assert names == sorted(path.relative_to(varied) for path in varied.rglob("*.wav"))
    assert all((plain / name).read_bytes() != (varied / name).read_bytes() for name in names)
