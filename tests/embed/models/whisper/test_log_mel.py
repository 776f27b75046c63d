"""The spectrum is that of transformers' WhisperFeatureExtractor, and padding does not change it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layerprobe.embed.config import RATE
from layerprobe.embed.models.whisper.log_mel import LogMel

CPU = torch.device("cpu")


def sound(length: int, *, seed: int = 0, level: float = 0.3) -> torch.Tensor:
    """Noise and a tone, with a silent middle: more than eight decades between its loudest and quietest."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(length) / RATE
    wave = level * (torch.sin(2 * torch.pi * 440 * time) + 0.1 * torch.randn(length, generator=generator))
    wave[length // 3 : length // 2] = 0
    return wave


def extracted(wave: torch.Tensor, context: int, mels: int) -> torch.Tensor:
    """transformers' spectrum (mels, M) of a clip and the silence after it, in float32."""
    from transformers import WhisperFeatureExtractor

    padded = np.zeros(context, np.float32)
    padded[: len(wave)] = wave
    extractor = WhisperFeatureExtractor(feature_size=mels)
    features = extractor(padded, sampling_rate=RATE, padding="do_not_pad", return_tensors="pt")
    return features.input_features[0]


@pytest.mark.parametrize("mels", [80, 128])
def test_each_clip_of_a_batch_has_its_own_spectrum(mels):
    """Levels differ by 120 dB: the range of the loud clip would erase the quiet ones."""
    clips = [(400, 0.3), (8_001, 1e-6), (16_000, 0.3), (12_345, 1e-3), (RATE * 30, 1e-4)]
    lengths = [length for length, _ in clips]
    contexts = [min(length + 8_000, 30 * RATE) for length in lengths]
    waves = torch.zeros(len(clips), max(lengths))
    for row, (length, level) in zip(waves, clips, strict=True):
        row[:length] = sound(length, level=level)
    spectra, steps = LogMel(mels, device=CPU)(waves, lengths, contexts)
    assert steps == [context // 160 for context in contexts]
    for spectrum, wave, length, context in zip(spectra, waves, lengths, contexts, strict=True):
        expected = extracted(wave[:length], context, mels)
        count = expected.shape[1]
        torch.testing.assert_close(spectrum[:, :count], expected, rtol=0, atol=1e-5)
        assert not spectrum[:, count:].any()


@pytest.mark.parametrize("silence", [0, 1, 40, 199, 200, 300])
def test_the_end_of_a_clip_with_little_silence_is_reflected(silence):
    length = 16_000
    wave = sound(length)
    spectra, _ = LogMel(80, device=CPU)(wave[None], [length], [length + silence])
    torch.testing.assert_close(spectra[0], extracted(wave, length + silence, 80), rtol=0, atol=1e-5)


def test_it_is_the_original_models_spectrum_too():
    """Computed in float64 with numpy, from the definition in OpenAI's `whisper/audio.py`."""
    from transformers.audio_utils import mel_filter_bank

    wave = sound(16_000)
    padded = np.pad(np.pad(wave.double().numpy(), (0, 8_000)), 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:-1]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    bank = mel_filter_bank(201, 80, 0.0, 8000.0, RATE, norm="slaney", mel_scale="slaney")
    log = np.log10(np.maximum(np.abs(np.fft.rfft(frames * taper)) ** 2 @ bank, 1e-10)).T
    expected = (np.maximum(log, log.max() - 8) + 4) / 4
    spectra, _ = LogMel(80, device=CPU)(wave[None], [16_000], [24_000])
    np.testing.assert_allclose(spectra[0].numpy(), expected, atol=1e-4)
