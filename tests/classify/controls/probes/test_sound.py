"""Probes of the sound, on states that are known functions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.controls.probes import acoustics
from layerprobe.classify.controls.probes.acoustics import TARGETS
from layerprobe.classify.controls.probes.sound import probe_sound
from layerprobe.classify.data.dataset import join_unlabelled
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import Clip
from tests.embed.models.test_prosody import RATE, voice
from tests.studies import made_clips, made_store


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], FeatureStore]:
    """Six speakers with voices of their own pitch and level, and a store of the means of their prosody."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    clips = []
    for number in range(36):
        speaker = number % 6
        pitch = np.full(RATE // 4, (110 + 20 * speaker) * rng.uniform(0.9, 1.1))
        wave = voice(pitch, level=10 ** rng.uniform(-2.3, -1))
        name = f"{number}.wav"
        soundfile.write(folder / name, wave, RATE, subtype="FLOAT")
        clips.append(Clip(id=name, file=str(folder / name), speaker=f"s{speaker}"))
    config = EmbedConfig(model="prosody", cache=folder / "cache", dtype="float32")
    return clips, FeatureStore(embed(clips, config).store)


def probed(
    corpus: tuple[list[Clip], FeatureStore], names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict]:
    clips, store = corpus
    monkeypatch.setattr(acoustics, "find_spec", lambda name: None)
    data = join_unlabelled(clips, store)
    return probe_sound(None, store, data, clips, names, jobs=1, seed=0)


def test_states_with_pitch_and_level_predict_them(
    corpus: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = probed(corpus, ("f0_mean", "sound_level"), monkeypatch)
    assert (result["source"], result["clips"], result["left_out"]) == ("prosody", 36, {})
    assert [target["target"] for target in result["targets"]] == ["f0_mean", "sound_level"]
    for target in result["targets"]:
        (entry,) = target["layers"]
        assert entry["layer"] == "prosody"
        assert entry["r2"]["value"] > 0.9


def test_shuffling_within_speakers_keeps_what_differs_between_them(
    corpus: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pitch is the speaker's, level is not: only the latter cannot be predicted from shuffled values."""
    targets = probed(corpus, ("f0_mean", "sound_level"), monkeypatch)["targets"]
    pitch, level = (target["layers"][0] for target in targets)
    assert pitch["control"]["value"] > 0.3
    assert level["control"]["value"] < 0.3
    assert level["selectivity"]["value"] > pitch["selectivity"]["value"]
    assert level["selectivity"]["low"] > 0


def test_what_does_not_vary_is_left_out(
    corpus: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = probed(corpus, ("speech_rate", "f0_mean"), monkeypatch)  # every clip is one voiced stretch
    assert result["left_out"] == {"speech_rate": "it is always the same"}
    assert [target["target"] for target in result["targets"]] == ["f0_mean"]


def test_too_few_clips_with_voiced_frames_are_a_reason(
    corpus: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = probed((corpus[0][:8], corpus[1]), TARGETS, monkeypatch)
    assert result["targets"] == []
    assert set(result["left_out"].values()) == {"8 clips with voiced frames are too few"}


def test_sounds_that_cannot_be_decoded_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = made_clips(tmp_path / "corpus", speakers=3)
    store = made_store(tmp_path / "cache", clips)
    monkeypatch.setattr(acoustics, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="none of 24 clips could be embedded"):
        probe_sound(None, store, join_unlabelled(clips, store), clips, TARGETS, jobs=1, seed=0)


def test_clips_without_speakers_are_probed(
    corpus: tuple[list[Clip], FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [replace(clip, speaker=None) for clip in corpus[0]]
    result = probed((clips, corpus[1]), ("f0_mean",), monkeypatch)
    assert result["targets"][0]["layers"][0]["r2"]["value"] > 0.9
