"""Compaction merges small shards and changes nothing but the files."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.maintenance.compact import compact
from layerprobe.cache.maintenance.rewrite import MAINTENANCE_LOCK, maintenance_lock
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store.shard import list_shards, open_shard
from tests.cache.maintenance.test_verify import shard_of
from tests.run import ROOT
from tests.stores import check, clips, extraction, fill


def test_shards_are_merged_and_duplicates_removed(tmp_path):
    store = FeatureStore.create(tmp_path, extraction())
    held = clips(store.extraction, 30, seed=1)
    keys = list(held)
    for begin in range(0, 30, 5):
        fill(store, {key: held[key] for key in keys[begin : begin + 8]})  # three of eight are there twice
    reader = FeatureStore(store.folder)
    reader.keys()
    done = compact(store)
    assert (done.shards_before, done.shards_after, done.clips, done.duplicates) == (6, 1, 30, 15)
    assert done.bytes_after < done.bytes_before
    check(store, held)
    check(reader, held)  # whose index still knew the old shards
    assert sorted(reader.paths(keys)) == sorted(f"{key[:8]}.wav" for key in keys)
    assert not verify(store).damaged
    again = compact(store)
    assert (again.shards_before, again.shards_after, again.duplicates) == (1, 1, 0)


def test_merged_shards_do_not_exceed_the_size_limit(tmp_path, monkeypatch):
    store = FeatureStore.create(tmp_path, extraction())
    for seed in range(6):
        fill(store, clips(store.extraction, 50, seed=seed))
    size = max(path.stat().st_size for path in store.folder.glob("shard-*"))
    monkeypatch.setattr("layerprobe.cache.maintenance.compact.SHARD_BYTES", 3 * size)
    assert compact(store).shards_after == 2
    assert len(store.keys()) == 300
    monkeypatch.setattr("layerprobe.cache.maintenance.compact.SHARD_BYTES", size)
    before = list_shards(store.folder)
    compact(store)
    assert list_shards(store.folder) == before  # large enough, and left alone


@pytest.mark.parametrize("clips_in_memory", [1, 100])
def test_compaction_keeps_every_frame(tmp_path, monkeypatch, clips_in_memory):
    monkeypatch.setattr("layerprobe.cache.maintenance.rewrite.COPY_BYTES", 16 * clips_in_memory)
    store = FeatureStore.create(tmp_path, extraction(stats=(FRAME,)))
    rng = np.random.default_rng(3)
    held = {}
    for number in (1, 7, 0, 40, 2):
        key = rng.bytes(32).hex()
        held[key] = {
            layer: rng.standard_normal((number, width)).astype("f2")
            for layer, width in zip(store.extraction.layers, store.extraction.widths, strict=True)
        }
        for _ in range(2):
            with store.writer() as writer:
                writer.add(key, held[key], frames=number, seconds=number / 50)
    compact(store)
    assert len(list_shards(store.folder)) == 1
    for key, layers in held.items():
        for layer, states in layers.items():
            np.testing.assert_array_equal(store.frames(layer, key), states.astype("f4"))
    np.testing.assert_allclose(store.seconds(list(held)), [1 / 50, 7 / 50, 0, 40 / 50, 2 / 50])


def test_a_good_copy_is_never_dropped_for_a_damaged_one(tmp_path):
    store = FeatureStore.create(tmp_path, extraction())
    held = clips(store.extraction, 3, seed=4)
    fill(store, held)
    first = shard_of(store)
    fill(store, {**held, **clips(store.extraction, 1, seed=5)})
    with open_shard(first, store.extraction.fingerprint()) as file:
        at = file["states/0"].id.get_chunk_info(0).byte_offset
    raw = bytearray(first.read_bytes())
    raw[at] ^= 1
    first.write_bytes(raw)
    before = list_shards(store.folder)
    with pytest.raises(StoreError, match=r"damaged shard .*verify --repair"):
        compact(store)
    assert list_shards(store.folder) == before
    verify(store, repair=True)
    compact(store)
    np.testing.assert_array_equal(
        store.layer("0", list(held)), np.stack([s["0"].reshape(-1) for s in held.values()]).astype("f4")
    )


def test_only_one_process_may_compact(tmp_path):
    store = FeatureStore.create(tmp_path, extraction())
    with maintenance_lock(store.folder), pytest.raises(StoreError, match="another process"):
        compact(store)
    assert (store.folder / MAINTENANCE_LOCK).exists()
    compact(store)


STEPS = ["open", "pwrite", "ftruncate", "fsync", "replace", "unlink"]


def test_a_disk_failure_at_any_step_loses_no_clip(tmp_path, monkeypatch):
    """The disk fails at the n-th call that changes it, for every n there is."""
    calls, good = -(10**9), 0

    def broken(real):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > good:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", lambda handle: None)  # only a power cut could tell, and it takes time
    for step in STEPS:
        owner = Path if step in ("replace", "unlink") else os
        monkeypatch.setattr(owner, step, broken(getattr(owner, step)))
    while True:
        store = FeatureStore.create(tmp_path / str(good), extraction())
        held = clips(store.extraction, 4, seed=7)
        for begin in (0, 1):
            fill(store, {key: held[key] for key in list(held)[begin : begin + 3]})
        calls = 0
        try:
            compact(store)
            break
        except StoreError as error:
            assert "Input/output error" in str(error), error  # noqa: PT017 - the last round has no error
        finally:
            calls = -(10**9)
        assert not verify(store).damaged
        check(store, held)
        assert compact(store).shards_after == 1
        check(store, held)
        assert verify(store).abandoned_files == []
        good += 1
    assert good > 3 * len(STEPS)


KILLED_AT_STEP = """
import os, signal, sys
from pathlib import Path
from cache import FeatureStore
from layerprobe.cache.maintenance.compact import compact

step, left = sys.argv[2], int(sys.argv[3])

def kill_at(owner, name):
    real = getattr(owner, name)
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(owner, name, call)

kill_at(Path if step in ("replace", "unlink") else os, step)
compact(FeatureStore(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("step", "after"), [("fsync", 0), ("replace", 0), ("fsync", 1), ("unlink", 0), ("unlink", 2)]
)
def test_a_kill_during_compaction_loses_no_clip(tmp_path, step, after):
    store = FeatureStore.create(tmp_path, extraction())
    held = clips(store.extraction, 20, seed=6)
    for begin in range(0, 20, 4):
        fill(store, {key: held[key] for key in list(held)[begin : begin + 5]})
    command = [sys.executable, "-c", KILLED_AT_STEP, str(store.folder), step, str(after)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert not verify(store).damaged
    check(store, held)
    assert compact(store).shards_after == 1
    check(store, held)
    assert verify(store).abandoned_files == []
