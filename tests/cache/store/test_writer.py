"""The writer: shards by size, number and age, and a disk that fails at any step."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import layerprobe.cache.store.writer
from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store.shard import list_shards
from tests.stores import check, clips, extraction, fill


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path, extraction())


def wait_for(condition) -> None:
    """Until it holds; pytest's own timeout ends it otherwise."""
    while not condition():
        time.sleep(0.005)


def test_at_most_a_minute_or_96_mib_can_be_lost():
    assert layerprobe.cache.store.writer.SHARD_SECONDS <= 60
    # One that is filled, one that is written, one on its way to the disk.
    assert 3 * layerprobe.cache.store.writer.SHARD_BYTES <= 96 << 20


@pytest.mark.parametrize("bound", ["bytes", "clips"])
def test_a_shard_is_finished_when_it_is_large_enough(store, monkeypatch, bound):
    if bound == "bytes":
        monkeypatch.setattr(
            "layerprobe.cache.store.writer.SHARD_BYTES", 10 * store.extraction.bytes_per_row()
        )
    else:
        monkeypatch.setattr("layerprobe.cache.store.writer.SHARD_CLIPS", 10)
    held = clips(store.extraction, 35, seed=1)
    with store.writer() as writer:
        for number, (key, states) in enumerate(held.items(), start=1):
            writer.add(key, states, frames=50, seconds=1.0)
            if number == 30:
                wait_for(lambda: len(store.keys()) >= 20)  # without waiting for the end
    assert 2 <= len(list_shards(store.folder)) <= 4
    check(store, held)


def test_a_shard_is_finished_when_it_is_old_enough(store, monkeypatch):
    monkeypatch.setattr("layerprobe.cache.store.writer.SHARD_SECONDS", 0.05)
    held = clips(store.extraction, 2, seed=2)
    first, second = held
    with store.writer() as writer:
        writer.add(first, held[first], frames=50, seconds=1.0)
        wait_for(lambda: store.keys() == [first])
        writer.add(second, held[second], frames=50, seconds=1.0)
    check(store, held)


def test_adding_waits_while_memory_is_full(store, monkeypatch):
    row = store.extraction.bytes_per_row()
    monkeypatch.setattr("layerprobe.cache.store.writer.SHARD_BYTES", 4 * row)
    real, gate, synced = os.fsync, threading.Event(), threading.Event()

    def hang(handle: int) -> None:
        synced.set()
        gate.wait()
        real(handle)

    monkeypatch.setattr(os, "fsync", hang)
    added: list[str] = []
    with store.writer() as writer:

        def add_all() -> None:
            for key, states in held.items():
                writer.add(key, states, frames=50, seconds=1.0)
                added.append(key)

        held = clips(store.extraction, 30, seed=3)
        adding = threading.Thread(target=add_all)
        adding.start()
        synced.wait()  # a first shard is complete, of four to eight clips
        wait_for(lambda: len(added) >= 12 and writer._background._bytes_in_memory >= 8 * row)
        assert len(added) <= 16
        gate.set()
        adding.join()
    check(store, held)


def test_an_exception_keeps_the_finished_clips(store):
    held = clips(store.extraction, 3, seed=4)
    with suppress(KeyboardInterrupt), store.writer() as writer:
        for key, states in held.items():
            writer.add(key, states, frames=50, seconds=1.0)
        writer.begin("f" * 64)
        raise KeyboardInterrupt
    check(store, held)


def test_the_states_are_copied(store):
    held = clips(store.extraction, 2, seed=5)
    scratch = {layer: np.empty_like(states) for layer, states in next(iter(held.values())).items()}
    with store.writer() as writer:
        for key, states in held.items():
            for layer in scratch:
                scratch[layer][:] = states[layer]
            writer.add(key, scratch, frames=50, seconds=1.0)
    check(store, held)


class TestBatch:
    """Complete clips added at once: the same store as one clip at a time."""

    def add(self, store: FeatureStore, held: dict, **changes) -> None:
        columns = {
            "frames": [50] * len(held),
            "seconds": [1.0] * len(held),
            "paths": [f"{number}.wav" for number in range(len(held))],
        }
        states = {layer: np.stack([of[layer] for of in held.values()]) for layer in store.extraction.layers}
        with store.writer() as writer:
            writer.add_batch(**{"keys": list(held), "states": states, **columns, **changes})

    def test_gives_the_store_that_single_clips_give(self, store, tmp_path):
        held = clips(store.extraction, 7, seed=6)
        self.add(store, held)
        check(store, held)
        single = FeatureStore.create(tmp_path / "single", extraction())
        with single.writer() as writer:
            for number, (key, states) in enumerate(held.items()):
                writer.add(key, states, frames=50, seconds=1.0, path=f"{number}.wav")
        assert list_shards(store.folder) == list_shards(single.folder)  # named by their content

    def test_of_more_than_a_shard_is_written_in_several(self, store, monkeypatch):
        monkeypatch.setattr("layerprobe.cache.store.writer.SHARD_BYTES", 4 * store.extraction.bytes_per_row())
        held = clips(store.extraction, 18, seed=7)
        self.add(store, held)
        assert len(list_shards(store.folder)) >= 3  # two fit into memory
        check(store, held)

    def test_counts_its_clips_towards_a_shard(self, store, monkeypatch):
        monkeypatch.setattr("layerprobe.cache.store.writer.SHARD_CLIPS", 10)
        held = clips(store.extraction, 12, seed=8)
        keys = list(held)
        states = {layer: np.stack([of[layer] for of in held.values()]) for layer in store.extraction.layers}
        with store.writer() as writer:
            writer.add_batch(keys, states, frames=[50] * 12, seconds=[1.0] * 12, paths=[""] * 12)
            wait_for(lambda: len(store.keys()) == 12)  # without waiting for the end

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"keys": ["a" * 64]}, "3 rows for 1 clips"),
            ({"keys": ["a" * 64, "b" * 64, "clip-3"]}, "'clip-3' is no clip's key"),
            ({"states": {}}, "layers that are not those of the store: 0, 1, cnn"),
        ],
        ids=["rows", "key", "layers"],
    )
    def test_that_does_not_fit_the_store_is_refused(self, store, changes, fault):
        with pytest.raises(StoreError, match=fault):
            self.add(store, clips(store.extraction, 3, seed=9), **changes)
        assert store.keys() == []

    def test_of_frames_is_refused(self, tmp_path):
        store = FeatureStore.create(tmp_path, extraction(stats=(FRAME,)))
        states = {
            "0": np.zeros((2, 1, 8), "f2"),
            "1": np.zeros((2, 1, 8), "f2"),
            "cnn": np.zeros((2, 1, 4), "f2"),
        }
        with store.writer() as writer, pytest.raises(StoreError, match="keeps every frame"):
            writer.add_batch(["a" * 64, "b" * 64], states, frames=[1, 1], seconds=[1.0, 1.0], paths=["", ""])


def test_a_clip_whose_blocks_do_not_match_its_frames_is_refused(tmp_path):
    store = FeatureStore.create(tmp_path, extraction(stats=(FRAME,)))
    part = {"0": np.zeros((3, 8), "f2"), "1": np.zeros((3, 8), "f2"), "cnn": np.zeros((3, 4), "f2")}
    with store.writer() as writer:
        writer.begin("a" * 64)
        writer.append(part)
        with pytest.raises(StoreError, match="3 rows for 4 expected"):
            writer.end(frames=4, seconds=1.0)
        with pytest.raises(StoreError, match="unequal length"):
            writer.append({**part, "1": np.zeros((2, 8), "f2")})
        writer.end(frames=3, seconds=1.0)
        with pytest.raises(StoreError, match="no clip was begun"):
            writer.append(part)
    assert store.keys() == ["a" * 64]


STEPS = ["open", "pwrite", "ftruncate", "fsync", "replace"]


@pytest.mark.parametrize("frames", [False, True], ids=["pooled", "frames"])
def test_a_disk_failure_at_any_step_leaves_a_consistent_store(tmp_path, monkeypatch, frames):
    """The disk fails at the n-th call that writes, for every n there is, and once more works."""
    kind = extraction(stats=(FRAME,)) if frames else extraction()
    monkeypatch.setattr(
        "layerprobe.cache.store.writer.SHARD_BYTES", 1 if frames else 5 * kind.bytes_per_row()
    )
    held = clips(kind, 2 if frames else 8, seed=6)
    calls = good = 0

    def broken(real):
        def call(*arguments, **options):
            nonlocal calls
            if threading.current_thread().name.startswith("store-"):
                calls += 1
                if calls > good:
                    raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", lambda handle: None)  # only a power cut could tell, and it takes time
    for step in STEPS:
        owner = Path if step == "replace" else os
        monkeypatch.setattr(owner, step, broken(getattr(owner, step)))
    finished = set()
    while True:
        store = FeatureStore.create(tmp_path / str(good), kind)
        calls = 0
        try:
            fill(store, held)
            break
        except StoreError as error:
            assert "No space left on device" in str(error), error  # noqa: PT017 - the last round has no error
        kept = store.keys()
        finished.add(len(kept))
        check(store, {key: held[key] for key in kept})
        assert not verify(store).damaged
        calls = -(10**9)  # the disk works again
        fill(store, {key: held[key] for key in store.missing(held)})
        check(store, held)
        assert not verify(store).abandoned_files
        good += 1
    assert good > 3 * len(STEPS)
    assert min(finished) == 0 < max(finished)
