"""`--channels each`: every channel has the states of a file of its own, in every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.maintenance.prune import keys_to_keep
from layerprobe.cache.store.failures import read as read_failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_key, clip_keys
from layerprobe.classify.audit.audit import audit
from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.estimate import estimate
from layerprobe.embed.extract.in_memory import StateExtractor
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.channels import stored_channels
from layerprobe.embed.manifest.clips import Clip, read_manifest
from tests.run import cli, refused
from tests.sounds import noise, sound_file

EACH: dict[str, Any] = {"model": "mfcc", "dtype": "float32", "channels": "each"}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight calls of two speakers each, a mono note, and a table with columns of each channel."""
    folder = tmp_path_factory.mktemp("calls")
    rows = ["path,emotion_0,emotion_1,speaker_0,speaker_1"]
    for number in range(8):
        wave = noise(12_000, seed=number, channels=2)
        wave[:, number % 2] *= 0.2
        sound_file(folder / f"call{number}.wav", wave, subtype="FLOAT")
        moods = ("calm", "loud") if number % 2 == 0 else ("loud", "calm")
        rows.append(f"call{number}.wav,{moods[0]},{moods[1]},s{number % 4},t{number % 4}")
    sound_file(folder / "note.wav", noise(12_000, seed=9), subtype="FLOAT")
    rows.append("note.wav,calm,,s0,")
    (folder / "calls.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def embedded(calls: Path) -> FeatureStore:
    clips = read_manifest(calls / "calls.csv", note=lambda _: None)
    summary = embed(clips, EmbedConfig(**EACH, cache=calls / "features"))
    assert (summary.clips, summary.embedded, summary.failures) == (17, 17, {})
    return FeatureStore(summary.store)


def test_states_are_those_of_a_file_of_the_channel(calls, embedded, tmp_path):
    clips = stored_channels(read_manifest(calls / "calls.csv", note=lambda _: None), embedded)
    assert [clip.id for clip in clips[:2]] == ["call0.wav#channel0", "call0.wav#channel1"]
    assert len(clips) == 17
    assert (clips[-1].id, clips[-1].labels["emotion"], clips[-1].speaker) == (
        "note.wav#channel0",
        "calm",
        "s0",
    )
    keys = [key for key in clip_keys(clips, calls / "features") if isinstance(key, str)]
    assert len(set(keys)) == 17
    wave = noise(12_000, channels=2)
    wave[:, 0] *= 0.2
    alone = [sound_file(tmp_path / f"{c}.wav", wave[:, c], subtype="FLOAT") for c in (0, 1)]
    summary = embed(alone, EmbedConfig(model="mfcc", dtype="float32", cache=tmp_path / "features"))
    own = [key for key in clip_keys(alone, tmp_path / "features") if isinstance(key, str)]
    expected = FeatureStore(summary.store).layer("mfcc", own)
    np.testing.assert_allclose(embedded.layer("mfcc", keys[:2]), expected, rtol=0, atol=1e-5)
    assert "--channels each" in embedded.extraction.embed_command(calls / "features")


def test_channels_are_known_without_the_audio(calls, embedded, tmp_path):
    table = tmp_path / "calls.csv"
    table.write_text(
        (calls / "calls.csv").read_text().replace("call", f"{calls}/call").replace("note.", f"{calls}/note.")
    )
    by_header = channel_clips(read_manifest(table, note=lambda _: None), channels="each", track=1)
    assert list(stored_channels(read_manifest(table, note=lambda _: None), embedded)) == list(by_header)


def test_keys_of_other_clips_are_what_they_were():
    digest = "ab" * 32
    assert clip_key(digest, start=None, end=None) == digest
    whole, first, second = (clip_key(digest, start=1.0, end=None, own_channel=c) for c in (None, 0, 1))
    assert len({digest, whole, first, second}) == 4
    assert whole == clip_key(digest, start=1, end=None)


def test_a_channel_that_fails_is_named(tmp_path):
    wave = noise(12_000, channels=2)
    wave[:, 1] = 0
    clips = [sound_file(tmp_path / "half.wav", wave, subtype="FLOAT"), Clip(id="gone.wav", file="gone.wav")]
    config = EmbedConfig(**EACH, cache=tmp_path / "features")
    planned = estimate(clips, config)
    assert (planned.clips, planned.missing, planned.failed) == (3, 2, 1)
    summary = embed(clips, config)
    assert summary.embedded == 1
    reasons = {path: reason for (path, _, _), reason in summary.failures.items()}
    assert reasons[f"{tmp_path}/half.wav#channel1"] == "silent: every sample has the same value"
    assert read_failures(summary.store).keys() == summary.failures.keys()
    store = FeatureStore(summary.store)
    assert [clip.id for clip in stored_channels(clips, store)] == [
        *("half.wav#channel0", "half.wav#channel1"),
        "gone.wav#channel0",
    ]
    assert embed(clips, config).cached == 1


def test_pruning_keeps_the_channels_of_a_table_s_recordings(calls, embedded):
    clips = read_manifest(calls / "calls.csv", note=lambda _: None)
    keep = keys_to_keep(calls / "features", clips[:3])
    held = set(embedded.keys())
    assert len(held & keep) == 6


def test_the_audit_sees_two_channels_of_one_recording(calls, tmp_path):
    clips = channel_clips(read_manifest(calls / "calls.csv", note=lambda _: None), channels="each", track=1)
    folds = [([clip.id for clip in clips if clip.own_channel], [c.id for c in clips if not c.own_channel])]
    report = audit(clips, target="emotion", cache=tmp_path, assignment=folds, channels="each")
    assert report.finding("source recordings").numbers["clips"] == 8
    assert report.finding("broken files").verdict == "fine"


def test_models_in_memory_refuse_recordings_of_several_channels(calls, tmp_path):
    extractor = StateExtractor(EmbedConfig(**EACH, cache=tmp_path))
    (states,) = extractor.recordings([calls / "note.wav"])
    assert not isinstance(states, ClipError)
    with pytest.raises(InputError, match="has several channels, each of which is a clip of its own"):
        extractor.recordings([calls / "call0.wav"])


def test_classify_and_predict_and_export_agree(calls, embedded, tmp_path):
    cache = ["--cache", str(calls / "features")]
    run = ["classify", str(calls / "calls.csv"), "--model", "mfcc", *cache, "--out", "run"]
    settings = ["--heads", "ridge", "--trials", "1", "--folds", "2", "--inner-folds", "2", "--jobs", "1"]
    done = cli(*run, *settings, "--controls", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folds = json.loads((tmp_path / "run" / "splits.json").read_text())["folds"]
    assert sum(len(fold["test"]) for fold in folds) == 17
    assert all("#channel" in id for fold in folds for id in fold["test"])
    done = cli("predict", "run/bundle", str(calls / "call0.wav"), "--out", "p.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "p.json").read_text())["predictions"]
    assert [row["channel"] for row in rows] == [0, 1]
    export = ["cache", "export", str(calls / "calls.csv"), "--model", "mfcc", *cache, "--layer", "mfcc"]
    assert cli(*export, "--out", "x.npz", cwd=tmp_path).returncode == 0
    with np.load(tmp_path / "x.npz") as held:
        assert held["paths"].tolist()[:2] == ["call0.wav#channel0", "call0.wav#channel1"]


def test_other_words_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("path\na.wav\n")
    done = cli("embed", "t.csv", "--model", "mfcc", "--channels", "all", cwd=tmp_path)
    assert "--channels all; give mean, each, or the number of a channel" in refused(done)
