from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.transforms import Resample

from layerprobe.embed.audio.resampling import BETA, ROLLOFF, ZEROS, resampler
from layerprobe.embed.audio.sound import DecoderThreads
from tests.sounds import noise

SHORT = (8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)  # ratios to 16,000 Hz
LONG = (20_008, 12_345)  # ratios whose taps are stored by phase, yet short enough to compare with torchaudio
PRIME = (11_127, 44_101)


def resample_all(wave: np.ndarray, rate: int) -> np.ndarray:
    return resample_part(wave, rate, 0, -(-len(wave) * 16_000 // rate))


def resample_part(wave: np.ndarray, rate: int, begin: int, stop: int) -> np.ndarray:
    resample = resampler(rate, 16_000)
    low, high = resample.span(begin, stop)
    inside = wave[max(low, 0) : min(high, len(wave))]
    return resample.apply(np.pad(inside, (max(-low, 0), max(high - len(wave), 0))), begin, stop)


@pytest.mark.parametrize("rate", SHORT + LONG)
def test_it_is_the_filter_of_torchaudio(rate):
    wave = noise(rate // 2 + 17)
    theirs = Resample(
        rate, 16_000, "sinc_interp_kaiser", lowpass_filter_width=ZEROS, rolloff=ROLLOFF, beta=BETA
    )
    expected = theirs(torch.from_numpy(wave)).numpy()
    ours = resample_all(wave, rate)
    assert ours.dtype == np.float32
    # torchaudio rounds phases to float32 before it scales them, which matters where there are thousands.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-5 if rate in LONG else 1e-6)


@settings(max_examples=60)
@given(
    rate=st.sampled_from(SHORT + LONG + PRIME),
    samples=st.integers(1, 9_000),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_stretch_is_that_stretch_of_the_complete_output(rate, samples, ends):
    wave = noise(samples, seed=samples)
    full = resample_all(wave, rate)
    begin, stop = sorted(round(end * len(full)) for end in ends)
    begin = min(begin, len(full) - 1)
    stop = max(stop, begin + 1)
    np.testing.assert_allclose(resample_part(wave, rate, begin, stop), full[begin:stop], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", SHORT + LONG + PRIME)
def test_a_tone_stays_the_same(rate):
    old, new = np.arange(rate) / rate, np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 1_000.5 * old).astype(np.float32)
    expected = np.sin(2 * np.pi * 1_000.5 * new)
    inner = slice(1_000, -1_000)
    np.testing.assert_allclose(resample_all(tone, rate)[inner], expected[inner], rtol=0, atol=2e-5)


@pytest.mark.parametrize("rate", [rate for rate in SHORT + LONG + PRIME if rate > 17_000])
def test_tones_above_8_khz_are_removed(rate):
    tone = np.sin(2 * np.pi * 8_300 * np.arange(rate) / rate).astype(np.float32)
    assert np.abs(resample_all(tone, rate)[1_000:-1_000]).max() < 1e-3


def test_threads_may_share_it():
    waves = [noise(4_000, seed=seed) for seed in range(12)]
    rates = [SHORT[seed % 4] for seed in range(12)]
    with DecoderThreads(6) as pool:
        together = list(pool.map(resample_all, waves, rates))
    with DecoderThreads(1) as pool:  # on one core, too: torch sums in another order on several
        alone = list(pool.map(resample_all, waves, rates))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
