"""Acoustic targets: by hand, on voices of known pitch, and by openSMILE."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.probes import acoustics
from layerprobe.classify.controls.probes.acoustics import (
    EGEMAPS_COLUMNS,
    EGEMAPS_PLACES,
    TARGETS,
    functionals,
    measure,
    voiced_frames,
)
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip
from tests.embed.models.test_prosody import RATE, voice

PITCHES = (100.0, 150.0, 200.0, 250.0)


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    """A voice of each pitch, in two stretches with a pause, and noise; and a store of their mfcc."""
    folder = tmp_path_factory.mktemp("voices")
    waves = {}
    for pitch in PITCHES:
        sung = voice(np.full(RATE // 2, pitch))
        waves[f"{pitch:g}.wav"] = np.concatenate([sung, np.zeros(RATE // 4), sung])
    waves["noise.wav"] = 0.05 * np.random.default_rng(0).standard_normal(RATE)
    clips = []
    for name, wave in waves.items():
        soundfile.write(folder / name, wave, RATE)
        clips.append(Clip(id=name, file=str(folder / name), speaker=name))
    return clips, FeatureStore(embed(clips, EmbedConfig(model="mfcc", cache=folder / "cache")).store)


def keys_of(clips: list[Clip], store: FeatureStore) -> list[str]:
    keys = store.keys()
    places = dict(zip(store.paths(keys), keys, strict=True))
    return [places[clip.file] for clip in clips]


def by_name(values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(TARGETS, values.T, strict=True))


def test_functionals_by_hand() -> None:
    frames = np.zeros((100, 4), np.float32)
    frames[:, 2] = -20
    frames[10:30] = (110.0, 0.9, -20, -6)
    frames[40:60] = (220.0, 0.9, -20, -12)
    frames[70:72] = (400.0, 0.9, -20, -9)  # too short for a segment
    frames[80:90] = (300.0, 0.9, -60, 0)  # periodic, but far below the loudest frame
    voiced = voiced_frames(frames)
    assert voiced.sum() == 42
    found = dict(zip(TARGETS, functionals(frames, rate=100.0), strict=True))
    octaves = np.concatenate([np.full(20, 2.0), np.full(20, 3.0), np.full(2, np.log2(400 / 27.5))])
    assert found["f0_mean"] == pytest.approx(12 * octaves.mean())
    assert found["f0_range"] == pytest.approx(12)
    assert found["sound_level"] == pytest.approx(10 * np.log10((90 * 10**-2 + 10 * 10**-6) / 100))
    assert found["speech_rate"] == pytest.approx(2 / 1.0)
    assert found["spectral_tilt"] == pytest.approx((20 * -6 + 20 * -12 + 2 * -9) / 42)


def test_a_clip_without_a_voiced_frame_has_no_values() -> None:
    assert np.isnan(functionals(np.zeros((20, 4), np.float32), rate=100.0)).all()


def test_voices_have_their_pitch_and_their_segments(
    voices: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, store = voices
    monkeypatch.setattr(acoustics, "find_spec", lambda name: None)
    found = measure(clips, keys_of(clips, store), store)
    assert found.source == "prosody"
    assert np.isnan(found.values[-1]).all()
    values = by_name(found.values[:-1])
    np.testing.assert_allclose(values["f0_mean"], 12 * np.log2(np.array(PITCHES) / 27.5), atol=0.1)
    np.testing.assert_allclose(values["f0_range"], 0, atol=0.1)
    np.testing.assert_allclose(values["speech_rate"], 2 / 1.25, rtol=0.05)
    # What was measured is cached: nothing is computed again, also without the sounds.
    monkeypatch.setattr("layerprobe.embed.extract.run.embed_with_progress", None)
    gone = [Clip(id=clip.id, file="gone.wav", speaker=clip.speaker) for clip in clips]
    again = measure(gone, keys_of(clips, store), store)
    np.testing.assert_array_equal(again.values, found.values)


def test_columns_of_egemaps_are_where_opensmile_has_them() -> None:
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    assert {name: smile.feature_names.index(EGEMAPS_COLUMNS[name]) for name in TARGETS} == EGEMAPS_PLACES


def test_opensmile_hears_the_same_pitch_and_level(
    voices: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opensmile")
    clips, store = voices
    keys = keys_of(clips, store)
    theirs = measure(clips, keys, store)
    assert theirs.source == "opensmile:eGeMAPSv02"
    monkeypatch.setattr(acoustics, "find_spec", lambda name: None)
    ours = measure(clips, keys, store)
    own, other = by_name(ours.values[:-1]), by_name(theirs.values[:-1])
    np.testing.assert_allclose(own["f0_mean"], other["f0_mean"], atol=0.6)
    np.testing.assert_allclose(np.diff(own["sound_level"]), np.diff(other["sound_level"]), atol=0.5)
    assert np.corrcoef(own["spectral_tilt"], other["spectral_tilt"])[0, 1] > 0.9
