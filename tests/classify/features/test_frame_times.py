"""Times of frames: against the layers' own frame counts, and against an impulse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from layerprobe.classify.features.frame_times import first_centre, frame_times
from layerprobe.embed.config import RATE
from layerprobe.embed.extract.batching import cut
from layerprobe.embed.models.acoustic import AcousticBackbone
from layerprobe.embed.models.layers import frame_count, hop, receptive_field
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, ARCHITECTURES, AcousticSettings
from tests.stores import extraction

HUBERT = json.loads(ARCHITECTURES.read_text())["hubert-tiny"]
OF_HUBERT = extraction(
    frame_rate=RATE / hop(HUBERT), receptive_field=receptive_field(HUBERT) / RATE, window=4.0
)


def test_a_frame_is_at_the_centre_of_the_samples_that_it_covers():
    samples = 3 * RATE
    times = frame_times(OF_HUBERT, frames=frame_count(HUBERT, samples), seconds=3.0)
    begins = np.arange(len(times)) * hop(HUBERT)
    assert begins[-1] + receptive_field(HUBERT) <= samples
    np.testing.assert_allclose(times, (begins + begins + receptive_field(HUBERT)) / 2 / RATE)


@pytest.mark.parametrize("samples", [4 * RATE, 4 * RATE + 1, 9 * RATE + 317, 10 * RATE + 161, 123_457])
def test_frames_of_a_long_clip_begin_anew_in_each_window(samples):
    expected = []
    for window in cut(0, samples, window=OF_HUBERT.window):
        frames = np.arange(frame_count(HUBERT, window.samples))
        expected += ((window.begin + frames * hop(HUBERT) + receptive_field(HUBERT) / 2) / RATE).tolist()
    times = frame_times(OF_HUBERT, frames=len(expected), seconds=float(np.float32(samples / RATE)))
    np.testing.assert_allclose(times, expected, atol=1 / RATE)


def test_the_first_frame_of_a_whisper_encoder_is_at_its_first_sample():
    of = extraction(context="clip:0.5", receptive_field=0.065)
    assert frame_times(of, frames=3, seconds=0.06).tolist() == [0.0, 0.02, 0.04]


@pytest.mark.parametrize("name", ["mfcc", "fbank"])
def test_an_impulse_is_loudest_in_the_frame_whose_centre_is_nearest(name):
    settings = ACOUSTIC_PRESETS[name]
    assert isinstance(settings, AcousticSettings)
    backbone, wave = AcousticBackbone(settings), torch.zeros(1, RATE)
    wave[0, 7_777] = 1.0
    visits = []
    backbone.run(wave, torch.tensor([RATE]), lambda _, states, frames: visits.append(states[0].numpy()))
    (states,) = visits
    of = extraction(model=name, frame_rate=backbone.frame_rate, receptive_field=backbone.receptive_field)
    assert first_centre(of) == 200 / RATE
    times = frame_times(of, frames=len(states), seconds=1.0)
    energy = states[:, 0] if name == "mfcc" else states[:, : settings.mels].sum(1)
    assert times[energy.argmax()] == pytest.approx(7_777 / RATE, abs=0.005)
