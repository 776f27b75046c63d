"""Channels, tracks and scratch space of an extraction, and headers that claim the impossible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.estimate import estimate
from layerprobe.embed.extract.run import embed
from tests.run import cli, refused
from tests.sounds import clip_of, encoded, noise, sound_file


def states(clips, config):
    summary = embed(clips, config)
    assert summary.failures == {}
    store = FeatureStore(summary.store)
    keys = [key for key in clip_keys(clips, config.cache) if isinstance(key, str)]
    return summary.store, store.layer("mfcc", keys)


def test_a_channel_has_its_own_states_and_its_own_store(tmp_path):
    wave = noise(16_000, channels=2)
    both = [sound_file(tmp_path / "a.wav", wave, subtype="FLOAT")]
    first = [sound_file(tmp_path / "b.wav", wave[:, 0], subtype="FLOAT")]
    config: dict[str, Any] = {"model": "mfcc", "cache": tmp_path / "features", "dtype": "float32"}
    mean, of_mean = states(both, EmbedConfig(**config))
    chosen, of_first = states(both, EmbedConfig(**config, channels="0"))
    assert chosen != mean
    _, expected = states(first, EmbedConfig(**config))
    np.testing.assert_allclose(of_first, expected, rtol=0, atol=1e-5)
    assert np.abs(of_mean - of_first).max() > 0.1
    command = FeatureStore(chosen).extraction.embed_command(config["cache"])
    assert "--channels 0" in command


def test_a_track_has_its_own_states(tmp_path):
    low, high = noise(16_000), noise(16_000, seed=1)
    film = [clip_of(encoded(tmp_path / "a.mkv", low, high, kind="mka", video=True))]
    one, other = (
        states(film, EmbedConfig(model="mfcc", cache=tmp_path / "features", track=track)) for track in (1, 2)
    )
    assert one[0] != other[0]
    assert np.abs(one[1] - other[1]).max() > 0.1


def test_segments_of_a_long_file_need_no_scratch_space_to_be_the_same(tmp_path):
    path = sound_file(tmp_path / "a.mp3", noise(60 * 16_000)).path
    clips = [clip_of(path, start=start, end=start + 1) for start in range(50, 0, -7)]
    config: dict[str, Any] = {"model": "mfcc", "dtype": "float32"}
    _, expected = states(clips, EmbedConfig(cache=tmp_path / "one", **config))
    _, got = states(clips, EmbedConfig(cache=tmp_path / "two", scratch=0, **config))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("frames", [False, True])
def test_a_flac_header_that_claims_days_of_sound_is_one_failed_clip(tmp_path, frames):
    good = sound_file(tmp_path / "good.flac", noise(16_000))
    clips = [good]
    for number in range(3):
        bad = sound_file(tmp_path / f"bad{number}.flac", noise(16_000, seed=number))
        data = bytearray(bad.path.read_bytes())
        data[21] |= 0x0F >> number  # the upper bits of the number of samples
        bad.path.write_bytes(data)
        clips.append(bad)
    config = EmbedConfig(model="mfcc", cache=tmp_path / "features", frames=frames)
    planned = estimate(clips, config)
    assert (planned.missing, planned.failed) == (1, 3)
    assert planned.hours * 3600 == pytest.approx(1)
    summary = embed(clips, config)
    assert summary.embedded == 1
    assert all("its header declares" in reason for reason in summary.failures.values())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--channels", "left", "--channels left"),
        ("--channels", "-1", "--channels -1"),
        ("--track", "0", "--track 0"),
        ("--scratch", "lots", "--scratch lots"),
    ],
)
def test_unusable_values_are_refused(tmp_path, option, value, message):
    (tmp_path / "t.csv").write_text("path\na.wav\n")
    done = cli("embed", "t.csv", "--model", "mfcc", f"{option}={value}", cwd=tmp_path)
    assert message in refused(done)


def test_no_channel_of_that_number_is_reported(tmp_path):
    clips = [sound_file(tmp_path / "a.wav", noise(16_000))]
    with pytest.raises(InputError, match="has no channel 1: it has 1, counted from 0"):
        embed(clips, EmbedConfig(model="mfcc", cache=tmp_path / "features", channels="1"))


@pytest.mark.parametrize("command", ["audit", "finetune"])
@pytest.mark.parametrize(("option", "value"), [("--channels", "left"), ("--track", "0")])
def test_audit_and_finetune_refuse_them_too(tmp_path, command, option, value):
    (tmp_path / "t.csv").write_text("path\na.wav\n")
    more = ["--model", "random:hubert-tiny", "--splits", "s.json", "--out", "run"] * (command == "finetune")
    assert f"{option} {value}" in refused(cli(command, "t.csv", *more, f"{option}={value}", cwd=tmp_path))
