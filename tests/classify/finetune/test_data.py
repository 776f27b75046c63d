"""Clips as training examples: checked, windowed, padded and batched by length."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from layerprobe.classify.finetune.data import LengthGroupedSampler, WindowDataset, collate, load_recordings
from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.manifest.clips import Clip, read_manifest, select_sound
from tests.run import tone, write_corpus
from tests.sounds import noise, sound_file


def load(folder, **shape):
    clips = read_manifest(write_corpus(folder, **shape))
    recordings, faults = load_recordings(clips, folder / "cache")
    assert not faults
    return [recordings[clip.id] for clip in clips]


def test_unusable_clips_are_reported_and_the_others_loaded(tmp_path):
    clips = read_manifest(write_corpus(tmp_path, clips=4))
    (tmp_path / "clip001.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "clip002.wav", np.zeros(16_000), 16_000)
    missing = Clip(id="missing", file=str(tmp_path / "missing.wav"))
    recordings, faults = load_recordings([*clips, missing], tmp_path / "cache")
    assert set(recordings) == {"clip000.wav", "clip003.wav"}
    assert set(faults) == {"clip001.wav", "clip002.wav", "missing"}
    assert "silent" in faults["clip002.wav"]
    assert all(reason.startswith("not usable: ") for reason in faults.values())


def test_windows_come_longest_first_with_the_clips_own_samples(tmp_path):
    recordings = load(tmp_path, clips=6)
    data = WindowDataset(recordings, np.arange(6) % 3, window=30.0, normalise=True)
    assert data.lengths == sorted(data.lengths, reverse=True)
    for item in (data[index] for index in range(len(data))):
        wave, _ = soundfile.read(recordings[item.clip].clip.path, dtype="float32")
        expected = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        np.testing.assert_allclose(item.wave.numpy(), expected, atol=1e-4)
        assert item.label == item.clip % 3


def test_a_long_clip_is_cut_but_counts_once_and_its_logits_are_averaged(tmp_path):
    soundfile.write(tmp_path / "long.wav", tone(5.0, seed=1), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", tone(1.0, seed=2), 16_000, subtype="FLOAT")
    clips = [Clip(id=name, file=str(tmp_path / f"{name}.wav")) for name in ("long", "short")]
    recordings, _ = load_recordings(clips, tmp_path / "cache")
    weights = np.array([0.6, 2.0])
    data = WindowDataset(
        [recordings["long"], recordings["short"]],
        np.array([0, 1]),
        window=2.0,
        normalise=False,
        class_weights=weights,
    )
    items = [data[index] for index in range(len(data))]
    assert [item.clip for item in items] == [0, 0, 0, 1]
    np.testing.assert_allclose([item.weight for item in items], [0.2, 0.2, 0.2, 2.0])
    pieces = sorted(zip(data.windows, items, strict=True), key=lambda pair: (pair[0].clip, pair[0].number))
    joined = torch.cat([item.wave for window, item in pieces if window.clip == 0])
    np.testing.assert_array_equal(joined.numpy(), tone(5.0, seed=1))
    merged = data.merge(np.array([[1.0, 0.0], [2.0, 0.0], [6.0, 3.0], [5.0, 7.0]]))
    np.testing.assert_allclose(merged, [[3.0, 1.0], [5.0, 7.0]])
    assert data.clip_ids([1, 0, 0]) == ["short", "long"]


def test_a_batch_is_zero_beyond_each_clip(tmp_path):
    data = WindowDataset(load(tmp_path, clips=4), np.zeros(4, int), window=30.0, normalise=True)
    batch = collate([data[index] for index in range(4)])
    assert batch["waves"].shape[1] >= int(batch["lengths"].max())
    for wave, length in zip(batch["waves"], batch["lengths"].tolist(), strict=True):
        assert wave[:length].abs().max() > 0
        assert not wave[length:].any()


def test_batches_have_similar_lengths_and_each_epoch_its_own_order():
    lengths = np.random.default_rng(0).permutation(400).tolist()
    sampler = LengthGroupedSampler(lengths, batch_size=8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(400))
    assert list(sampler) == first
    spreads = [np.ptp([lengths[i] for i in first[k : k + 8]]) for k in range(8, 400, 8)]
    assert np.median(spreads) < 60
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(LengthGroupedSampler(lengths, batch_size=8, seed=4)) != first


def test_the_chosen_channel_is_trained_on(tmp_path):
    voices = np.stack([tone(1.0, seed=1), tone(1.0, seed=2)], axis=1)
    soundfile.write(tmp_path / "call.wav", voices, 16_000, subtype="FLOAT")
    clips = [Clip(id="call", file=str(tmp_path / "call.wav"))]
    for channels, expected in (("mean", voices.mean(1)), ("0", voices[:, 0]), ("1", voices[:, 1])):
        recordings, _ = load_recordings(select_sound(clips, channels=channels, track=1), tmp_path / "cache")
        data = WindowDataset([recordings["call"]], np.zeros(1, int), window=30.0, normalise=False)
        np.testing.assert_allclose(data[0].wave.numpy(), expected, atol=1e-6)


def test_each_channel_is_a_recording_of_its_own(tmp_path):
    wave = noise(8_000, channels=2)
    stereo = sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")
    alone = [sound_file(tmp_path / f"{c}.wav", wave[:, c], subtype="FLOAT") for c in (0, 1)]
    clips = select_sound(channel_clips([stereo], channels="each", track=1), channels="each", track=1)
    recordings, faults = load_recordings(clips, tmp_path / "cache")
    expected, _ = load_recordings(alone, tmp_path / "cache")
    assert faults == {}
    assert list(recordings) == ["a.wav#channel0", "a.wav#channel1"]
    for own, other in zip(recordings.values(), expected.values(), strict=True):
        assert own.moments.variance == pytest.approx(other.moments.variance)
        assert own.key != other.key
