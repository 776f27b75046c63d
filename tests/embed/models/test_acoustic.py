"""MFCC and filter-bank features: equal to torchaudio's, and the same in a batch as alone."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC, MelSpectrogram

from layerprobe.embed.audio.sound import MIN_SAMPLES
from layerprobe.embed.models.acoustic import AcousticBackbone
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, AcousticSettings
from tests.sounds import noise

BACKBONES = {
    name: AcousticBackbone(settings)
    for name, settings in ACOUSTIC_PRESETS.items()
    if isinstance(settings, AcousticSettings)
}
NAMES = tuple(BACKBONES)


def run(backbone: AcousticBackbone, waves: list[np.ndarray], *, padding: int = 0):
    """The one visit's layer, states and frames, for clips padded into a batch."""
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.zeros(len(waves), int(lengths.max()) + padding)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    visits = []
    backbone.run(batch, lengths, lambda *visit: visits.append(visit))
    (visit,) = visits
    return visit


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(MIN_SAMPLES, 6_000), min_size=1, max_size=5),
    padding=st.integers(0, 2_000),
)
def test_a_batch_gives_each_clip_the_features_it_has_alone(name, lengths, padding):
    backbone = BACKBONES[name]
    waves = [noise(length, seed=seed, level=1.0) for seed, length in enumerate(lengths)]
    layer, states, frames = run(backbone, waves, padding=padding)
    assert layer == name
    for i, wave in enumerate(waves):
        _, alone, count = run(backbone, [wave])
        assert int(frames[i]) == int(count[0]) == alone.shape[1] == backbone.frames(len(wave)) >= 1
        torch.testing.assert_close(states[i, : frames[i]], alone[0], rtol=1e-5, atol=5e-5)


@given(samples=st.integers(0, 100_000))
def test_only_complete_windows_are_frames(samples):
    begins = range(0, samples - 400 + 1, 160)
    assert BACKBONES["mfcc"].frames(samples) == len(begins)


@pytest.mark.parametrize("name", NAMES)
def test_the_attributes_of_a_backbone_match_its_output(name):
    backbone = BACKBONES[name]
    _, states, _ = run(backbone, [noise(16_000)])
    assert backbone.layers == (name,)
    assert backbone.widths == (states.shape[2],)
    assert states.dtype == torch.float32
    assert backbone.frame_rate == 100
    assert backbone.normalise


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_depends_on_its_receptive_field_only(name):
    backbone = BACKBONES[name]
    wave = noise(16_000, level=1.0)
    reach = round(backbone.receptive_field * 16_000)
    begin = 50 * 160 + 200 - reach // 2  # of the receptive field of frame 50
    _, before, _ = run(backbone, [wave])
    inside, outside = wave.copy(), wave.copy()
    outside[:begin], outside[begin + reach :] = 0.3, -0.3
    inside[[begin + 20, begin + reach - 20]] += 1.0
    _, same, _ = run(backbone, [outside])
    _, other, _ = run(backbone, [inside])
    torch.testing.assert_close(same[0, 50], before[0, 50], rtol=1e-5, atol=5e-5)
    assert (other[0, 50] - before[0, 50]).abs().max() > 1e-3


def test_fbank_equals_torchaudios_log_mel_spectrum_with_first_and_second_differences():
    wave = torch.from_numpy(noise(12_345, level=1.0))
    mel = MelSpectrogram(
        16_000, n_fft=512, win_length=400, hop_length=160, n_mels=80, f_min=20.0, pad=56, center=False
    )
    log = mel(wave).clamp_min(1e-6).log()
    first = compute_deltas(log)
    expected = torch.cat([log, first, compute_deltas(first)]).T
    _, states, _ = run(BACKBONES["fbank"], [wave.numpy()])
    torch.testing.assert_close(states[0], expected, rtol=1e-5, atol=5e-5)


def test_mfcc_equals_torchaudios():
    wave = torch.randn(12_345, generator=torch.Generator().manual_seed(0))
    mel = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80, "f_min": 20.0, "pad": 56}
    theirs = MFCC(16_000, n_mfcc=40, log_mels=True, melkwargs=mel | {"center": False})
    _, states, _ = run(BACKBONES["mfcc"], [wave.numpy()])
    # torchaudio adds the floor to the energies, here it is their lower bound: equal wherever there is sound.
    torch.testing.assert_close(states[0, :, :40], theirs(wave).T, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_silence_gives_finite_features(name):
    _, states, _ = run(BACKBONES[name], [np.zeros(1_000, np.float32)])
    assert states.isfinite().all()
    differences = states[:, :, states.shape[2] // 3 :]
    assert differences.abs().max() < 1e-5


def test_no_mel_filter_is_empty():
    wave = noise(4_000, level=1.0)
    _, states, _ = run(BACKBONES["fbank"], [wave])
    assert (states[0, :, :80] > np.log(1e-6) + 1).all()


def test_the_architecture_changes_with_every_setting():
    mfcc = ACOUSTIC_PRESETS["mfcc"]
    other = {f.name: getattr(mfcc, f.name) * 2 for f in fields(mfcc)}
    hashes = {replace(mfcc, **{name: value}).architecture() for name, value in other.items()}
    assert len(hashes | {mfcc.architecture()}) == len(other) + 1
    assert replace(mfcc).architecture() == mfcc.architecture()
    assert len(mfcc.architecture()) == 64
