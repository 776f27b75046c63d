"""Failures, costs and hashes of one machine are known on another, which has neither the audio nor the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.places import local_cache
from layerprobe.cache.store import costs, failures
from layerprobe.cache.store.location import remote_cache
from layerprobe.classify.data.dataset import join_labels
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import NothingEmbeddedError, embed
from layerprobe.embed.manifest.clips import read_manifest
from tests.cache.store.location.test_remote_shards import CACHE, new_machine
from tests.run import write_corpus
from tests.s3_server import Server


def test_a_laptop_without_the_audio_knows_what_a_server_embedded(s3, tmp_path, monkeypatch):
    table = write_corpus(tmp_path / "server")
    (tmp_path / "server" / "clip001.wav").write_bytes(b"no sound")
    clips = read_manifest(table)
    local = embed(clips, EmbedConfig(model="mfcc", cache=tmp_path / "local"))
    done = embed(clips, EmbedConfig(model="mfcc", cache=Path(CACHE)))
    assert (done.embedded, len(done.failures)) == (7, 1)
    states = FeatureStore(local.store)
    (tmp_path / "laptop").mkdir()
    shutil.copy(table, tmp_path / "laptop")
    shutil.rmtree(tmp_path / "server")
    cache = new_machine(s3, tmp_path / "b", monkeypatch)
    store = FeatureStore(f"{CACHE}/mfcc/{done.fingerprint}")
    np.testing.assert_array_equal(store.layer("mfcc", states.keys()), states.layer("mfcc", states.keys()))
    data = join_labels(
        read_manifest(tmp_path / "laptop" / "clips.csv", must_exist=False), store, target="emotion"
    )
    assert len(data.ids) == 7
    assert list(data.excluded) == ["clip001.wav"]
    assert "not a sound file" in str(data.excluded["clip001.wav"])
    (cost,) = costs.read(store.folder)
    assert cost.clips == 7
    # A second run, of a machine that has the audio again, adds nothing that is known.
    before = s3.names()
    (tmp_path / "server").mkdir()
    again = embed(read_manifest(write_corpus(tmp_path / "again")), EmbedConfig(model="mfcc", cache=cache))
    assert (again.embedded, again.cached) == (1, 7)
    added = set(s3.names()) - set(before)
    assert sorted(name.split("/")[-1].split("-")[0] for name in added) == [
        "costs",
        "digests",
        "shard",
        "table",
    ]
    # Its list of failures is that of the server until the store has the clip.
    assert len(join_labels(clips_of(tmp_path / "again"), store, target="emotion").ids) == 8


def clips_of(folder: Path):
    return read_manifest(folder / "clips.csv")


def test_a_run_in_which_every_clip_fails_tells_others(s3, tmp_path, monkeypatch):
    table = write_corpus(tmp_path, clips=1)
    (tmp_path / "clip000.wav").write_bytes(b"no sound")
    with pytest.raises(NothingEmbeddedError):
        embed(read_manifest(table), EmbedConfig(model="mfcc", cache=local_cache(CACHE)))
    new_machine(s3, tmp_path / "b", monkeypatch)
    (record,) = (name for name in s3.names() if name.endswith("extraction.json"))
    store = FeatureStore(f"s3://states/{record.rpartition('/')[0]}")
    (failure,) = failures.read(store.folder).values()
    assert "not a sound file" in failure.reason


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("digests", b"\xff"),
        ("digests", b'["/a.wav"]\n'),
        ("digests", b'["/a.wav", "abc"]\n'),
        ("failures", b'["/a.wav", "x", "", "silent", ""]\n'),
        ("costs", b'["a", "b", "c"]\n'),
        ("costs", b"{}\n"),
    ],
)
def test_a_damaged_record_is_named(s3: Server, tmp_path, kind, content):
    place = "records" if kind == "digests" else f"tiny/{'0' * 16}/records"
    s3.put(f"corpus/features/{place}/{kind}-{'0' * 32}.jsonl", content)
    with pytest.raises(
        StoreError, match=rf"{CACHE}/{place}/{kind}-0+\.jsonl: not a record of a run .*delete it"
    ):
        remote_cache.remote_cache(local_cache(CACHE)).refresh()
