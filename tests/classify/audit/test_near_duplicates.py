"""Altered copies are found; other takes of one word by one speaker are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.classify.audit.near_duplicates import (
    BANDS,
    band_energies,
    correlate,
    find_landmarks,
    find_near_duplicates,
)
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.synthetic import RATE, make_corpus

BURST = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * np.hanning(RATE).astype(
    np.float32
)


def clips_of(paths: list[Path]) -> list[Clip]:
    return [Clip(id=path.name, file=str(path)) for path in paths]


def pairs(clips: list[Clip]) -> list[tuple[int, int, float, float]]:
    fingerprints = [
        find_landmarks(band_energies(*soundfile.read(clip.path, dtype="float32"))) for clip in clips
    ]
    patches, moments = (
        np.array([f.patches for f in fingerprints]),
        np.array([f.seconds for f in fingerprints]),
    )
    return [
        (c.a, c.b, c.correlation, c.shift) for c in find_near_duplicates(clips, patches, moments, threads=2)
    ]


def test_other_takes_of_a_word_by_one_speaker_are_no_copies(tmp_path):
    corpus = make_corpus(tmp_path, speakers=2, words=2, levels=1, takes=6)
    assert pairs(clips_of(sorted(corpus.rglob("*.wav")))) == []


def test_a_copy_among_other_takes_is_found_with_its_shift(tmp_path):
    corpus = make_corpus(tmp_path, speakers=1, words=2, levels=2, takes=3)
    paths = sorted(corpus.rglob("*.wav"))
    wave = soundfile.read(paths[4], dtype="float32")[0]
    copy = np.concatenate([np.zeros(RATE // 10, np.float32), 0.2 * wave[: -RATE // 10]])
    soundfile.write(tmp_path / "copy.wav", copy, RATE)
    ((a, b, correlation, shift),) = pairs([*clips_of(paths), *clips_of([tmp_path / "copy.wav"])])
    assert (a, b) == (4, len(paths))
    assert correlation > 0.99
    assert shift == pytest.approx(-0.1, abs=0.001)


def test_a_shared_hum_makes_no_copies(tmp_path):
    time = np.arange(2 * RATE) / RATE
    hum = np.sum([np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 8)], axis=0)
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for seed, path in enumerate(paths):
        noise = np.random.default_rng(seed).standard_normal(len(time)) * np.hanning(len(time))
        soundfile.write(path, 0.2 * hum + 0.02 * noise, RATE)
    assert pairs(clips_of(paths)) == []


def test_segments_of_one_recording_that_share_its_loudest_moment(tmp_path):
    wave = 0.01 * np.random.default_rng(2).standard_normal(20 * RATE).astype(np.float32)
    wave[round(11.7 * RATE) :][:RATE] += BURST / 5
    wave[round(16.5 * RATE) :][:RATE] += BURST[::-1] / 5
    soundfile.write(tmp_path / "long.wav", wave, RATE)
    spans = [(0.0, 13.0), (11.5, 14.0), (15.0, 20.0)]
    clips = [Clip(id=str(b), file=str(tmp_path / "long.wav"), start=b, end=e) for b, e in spans]
    fingerprints = [
        find_landmarks(band_energies(wave[round(b * RATE) : round(e * RATE)], RATE)) for b, e in spans
    ]
    patches, moments = (
        np.array([f.patches for f in fingerprints]),
        np.array([f.seconds for f in fingerprints]),
    )
    (copy,) = find_near_duplicates(clips, patches, moments, threads=1)
    assert (copy.a, copy.b) == (0, 1)
    assert copy.shift == pytest.approx(11.5, abs=1e-3)


@settings(max_examples=30)
@given(
    gain=st.floats(0.001, 30),
    lead=st.integers(0, 8000),
    cut=st.integers(0, 2000),
    sign=st.sampled_from([-1, 1]),
)
def test_gain_shift_cut_and_polarity_make_no_difference(gain, lead, cut, sign):
    copy = np.concatenate([np.zeros(lead, np.float32), np.float32(sign * gain) * BURST[cut:]])
    correlation, shift = correlate(BURST, copy)
    assert correlation > 0.999
    assert shift == pytest.approx((cut - lead) / RATE, abs=1e-6)
    original, altered = find_landmarks(band_energies(BURST, RATE)), find_landmarks(band_energies(copy, RATE))
    assert (original.patches @ altered.patches.T).max() > 0.97


def test_unrelated_noise_is_not_correlated():
    other = np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    assert correlate(BURST, other)[0] < 0.3


def test_too_little_overlap_is_no_correlation():
    assert correlate(BURST[:2000], BURST[:2000])[0] == 0.0


@pytest.mark.parametrize("wave", [np.zeros(RATE, np.float32), np.zeros(10, np.float32)])
def test_a_silent_or_tiny_clip_has_no_landmarks(wave):
    energies = band_energies(wave, RATE)
    assert energies.shape[1] == BANDS
    assert not find_landmarks(energies).patches.any()
    assert np.isnan(find_landmarks(energies).seconds).all()
