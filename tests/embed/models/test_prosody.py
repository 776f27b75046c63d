"""Prosody of synthetic sounds whose frequency, level and balance are known; and in batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layerprobe.embed.config import RATE
from layerprobe.embed.models.acoustic import ProsodyBackbone
from layerprobe.embed.models.presets import ProsodySettings
from tests.sounds import noise

BACKBONE = ProsodyBackbone(ProsodySettings())


def run(waves: list[np.ndarray], *, padding: int = 0) -> list[np.ndarray]:
    """(F, 4) of each clip, computed in one batch."""
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.zeros(len(waves), int(lengths.max()) + padding)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave.astype(np.float32))
    visits: list[tuple[torch.Tensor, torch.Tensor]] = []
    BACKBONE.run(batch, lengths, lambda _, states, frames: visits.append((states, frames)))
    ((states, frames),) = visits
    return [own[:count].numpy() for own, count in zip(states, frames.tolist(), strict=True)]


def voice(frequency: np.ndarray, *, harmonics: int = 12, level: float = 0.05) -> np.ndarray:
    """A sum of harmonics of a fundamental frequency (T,) in Hz, the higher the weaker."""
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    wave: np.ndarray = level * np.sum([np.sin(k * phase) / k for k in range(1, harmonics + 1)], axis=0)
    return wave


@pytest.mark.parametrize("frequency", [80.0, 103.7, 151.2, 220.0, 311.1, 450.0])
def test_the_frequency_of_a_voice(frequency):
    (states,) = run([voice(np.full(8_000, frequency))])
    assert states[:, 0] == pytest.approx(frequency, rel=0.005)
    assert (states[:, 1] > 0.95).all()


def test_a_gliding_voice_is_followed_at_the_centre_of_each_frame():
    glide = np.linspace(110, 220, RATE)
    (states,) = run([voice(glide)])
    centres = np.arange(len(states)) * 160 + 320
    np.testing.assert_allclose(states[:, 0], glide[centres], rtol=0.02)


def test_noise_and_silence_are_not_periodic():
    hiss = np.random.default_rng(0).standard_normal(RATE) * 0.05
    (noisy, silent) = run([hiss, np.zeros(RATE)])
    assert np.median(noisy[:, 1]) < 0.3
    assert not silent[:, 1].any()
    assert np.isfinite(silent).all()


def test_level_and_balance_in_decibels():
    time = np.arange(RATE) / RATE
    low, high = (0.1 * np.sin(2 * np.pi * frequency * time) for frequency in (400.0, 2_000.0))
    (both, quiet) = run([low + 0.1 * high, 0.1 * (low + 0.1 * high)])
    power = 0.5 * 0.1**2 * (1 + 0.01)
    assert both[:, 2] == pytest.approx(10 * np.log10(power), abs=0.05)
    assert both[:, 2] - quiet[:, 2] == pytest.approx(20, abs=0.01)
    assert both[:, 3] == pytest.approx(-20, abs=0.1)
    np.testing.assert_allclose(both[:, [0, 1, 3]], quiet[:, [0, 1, 3]], rtol=1e-3, atol=1e-3)


def test_a_batch_gives_each_clip_the_prosody_it_has_alone():
    waves = [noise(length, seed=length, level=1.0) for length in (640, 801, 3_333, 6_000)]
    waves.append(voice(np.full(4_000, 140.0)))
    for alone, beside in zip([run([wave])[0] for wave in waves], run(waves, padding=777), strict=True):
        assert len(alone) == len(beside)
        np.testing.assert_allclose(beside[:, 1:], alone[:, 1:], rtol=1e-4, atol=1e-4)
        periodic = alone[:, 1] > 0.5
        np.testing.assert_allclose(beside[periodic, 0], alone[periodic, 0], rtol=1e-4)


def test_only_complete_windows_are_frames():
    assert [BACKBONE.frames(samples) for samples in (0, 639, 640, 799, 800)] == [0, 0, 1, 1, 2]
