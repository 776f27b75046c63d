"""The public interface of a store: what is written is read, for any order, layer and statistic."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import MissingStatesError, StoreError
from layerprobe.cache.identity.extraction import FRAME
from tests.stores import clips, extraction, fill


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path, extraction())


def test_states_are_read_in_the_requested_order(store):
    held = clips(store.extraction, 20, seed=1)
    fill(store, held)
    keys = [*reversed(held), next(iter(held))]
    for layer in store.extraction.layers:
        expected = np.stack([held[k][layer].reshape(-1) for k in keys]).astype(np.float32)
        np.testing.assert_array_equal(store.layer(layer, keys), expected)
    assert store.layer("0", []).shape == (0, 2 * store.extraction.width("0"))
    assert store.keys() == sorted(held)


def test_statistics_are_chosen_and_ordered_at_read_time(store):
    held = clips(store.extraction, 5, seed=2)
    fill(store, held)
    keys = list(held)
    both, width = store.layer("1", keys), store.extraction.width("1")
    np.testing.assert_array_equal(store.layer("1", keys, stats=["mean"]), both[:, :width])
    swapped = store.layer("1", keys, stats=["std", "mean"])
    np.testing.assert_array_equal(swapped, np.hstack([both[:, width:], both[:, :width]]))
    with pytest.raises(MissingStatesError, match="max"):
        store.layer("1", keys, stats=["max"])
    with pytest.raises(MissingStatesError, match="'9'"):
        store.layer("9", keys)


def test_missing_clips_are_named_with_the_command_that_computes_them(store):
    held = clips(store.extraction, 3, seed=3)
    fill(store, held)
    absent = ["0" * 64, "f" * 64]
    assert store.missing([absent[0], *held, absent[1]]) == absent
    with pytest.raises(
        MissingStatesError, match=r"2 of 5 clips .*python cli.py embed .*--model tiny"
    ) as raised:
        store.layer("0", [*held, *absent])
    assert raised.value.keys == absent


def test_a_store_travels_between_processes_by_its_path(store):
    held = clips(store.extraction, 4, seed=4)
    fill(store, held)
    before = store.layer("0", list(held))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).layer("0", list(held)), before)


def test_an_open_store_sees_what_another_adds(store):
    first, second = clips(store.extraction, 3, seed=5), clips(store.extraction, 3, seed=6)
    fill(store, first)
    other = FeatureStore(store.folder)
    assert other.missing([*first, *second]) == list(second)
    fill(store, second)
    assert other.missing([*first, *second]) == []
    assert len(other.layer("0", [*second, *first])) == 6


def test_a_duplicate_is_invisible(store):
    held = clips(store.extraction, 3, seed=7)
    fill(store, held)
    fill(store, dict(list(held.items())[:2]))
    assert store.keys() == sorted(held)
    assert store.seconds(list(held)).tolist() == [1.0, 1.0, 1.0]


def test_several_layers_at_once(store):
    held = clips(store.extraction, 4, seed=9)
    fill(store, held)
    both = store.layers(["cnn", "0"], list(held), stats=["std"])
    assert list(both) == ["cnn", "0"]
    for name, states in both.items():
        np.testing.assert_array_equal(states, store.layer(name, list(held), stats=["std"]))


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_batches_are_the_layer_in_pieces(store, rows):
    held = clips(store.extraction, 20, seed=10)
    fill(store, dict(list(held.items())[:12]))
    fill(store, dict(list(held.items())[8:]))
    batches = list(store.iterate("1", rows=rows, stats=["mean"]))
    keys = [key for batch, _ in batches for key in batch]
    assert sorted(keys) == sorted(held)
    assert max(len(batch) for batch, _ in batches) <= rows
    whole = store.layer("1", keys, stats=["mean"])
    np.testing.assert_array_equal(np.concatenate([states for _, states in batches]), whole)
    asked = list(held)[3:9]
    batches = list(store.iterate("1", asked, rows=rows))
    assert [key for batch, _ in batches for key in batch] == asked
    np.testing.assert_array_equal(np.concatenate([s for _, s in batches]), store.layer("1", asked))


def test_each_clip_has_its_seconds_and_the_path_where_it_was_first_seen(store):
    first, second = clips(store.extraction, 2, seed=11).items()
    with store.writer() as writer:
        writer.add(first[0], first[1], frames=10, seconds=0.25, path="sub/a é.wav")
        writer.add(second[0], second[1], frames=20, seconds=4.5)
    assert store.seconds([second[0], first[0]]).tolist() == [4.5, 0.25]
    assert store.paths([second[0], first[0]]) == ["", "sub/a é.wav"]
    with pytest.raises(MissingStatesError):
        store.seconds(["f" * 64])


def test_every_frame_of_a_clip_that_was_added_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "layerprobe.cache.store.writer.SHARD_BYTES", 20_000
    )  # so that the long clip streams to its own shard
    store = FeatureStore.create(tmp_path, extraction(stats=(FRAME,)))
    rng = np.random.default_rng(8)
    lengths = {"a" * 64: 7, "b" * 64: 2000, "c" * 64: 1, "d" * 64: 30}
    states = {
        key: {
            layer: rng.standard_normal((n, store.extraction.width(layer))).astype("f2")
            for layer in store.extraction.layers
        }
        for key, n in lengths.items()
    }
    with store.writer() as writer:
        for key, layers in states.items():
            writer.begin(key)
            for begin in range(0, lengths[key], 100):
                writer.append({layer: s[begin : begin + 100] for layer, s in layers.items()})
            writer.end(frames=lengths[key], seconds=lengths[key] / 50)
        writer.begin("e" * 64)
        writer.append(states["d" * 64])  # never ended
    assert store.keys() == sorted(lengths)
    for key, layers in states.items():
        for layer, expected in layers.items():
            np.testing.assert_array_equal(store.frames(layer, key), expected.astype("f4"))
    with pytest.raises(MissingStatesError):
        store.frames("0", "e" * 64)
    with pytest.raises(MissingStatesError):
        store.frames("9", "a" * 64)
    with pytest.raises(StoreError, match="keeps every frame"):
        store.layer("0", ["b" * 64])
    pooled = FeatureStore.create(tmp_path, extraction())
    with pytest.raises(StoreError, match=r"holds mean, std, not frames; embed with --frames"):
        pooled.frames("0", "a" * 64)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="not a store"):
        FeatureStore(tmp_path / "nowhere")
    store = FeatureStore.create(tmp_path, extraction())
    (store.folder / "extraction.json").write_text("{}")
    with pytest.raises(StoreError, match="extraction record"):
        FeatureStore(store.folder)


def test_the_same_extraction_under_another_name_is_the_same_store(tmp_path):
    first = FeatureStore.create(tmp_path, extraction(model="hub/name"))
    second = FeatureStore.create(tmp_path, extraction(model="/home/someone/name", notes={"torch": "9"}))
    assert first.folder == second.folder
    assert first.folder.parent.name == "hub-name"
    assert FeatureStore.create(tmp_path, extraction(window=10.0)).folder != first.folder


@pytest.mark.parametrize(
    ("states", "fault"),
    [
        ({"0": np.zeros((2, 8), "f2")}, "layers that are not"),
        (
            {"0": np.zeros((2, 8), "f4"), "1": np.zeros((2, 8), "f2"), "cnn": np.zeros((2, 4), "f2")},
            "float32",
        ),
        (
            {"0": np.zeros((1, 8), "f2"), "1": np.zeros((2, 8), "f2"), "cnn": np.zeros((2, 4), "f2")},
            r"\(1, 8\)",
        ),
    ],
)
def test_states_of_another_shape_or_type_are_refused(store, states, fault):
    with store.writer() as writer, pytest.raises(StoreError, match=fault):
        writer.add("a" * 64, states, frames=1, seconds=1.0)
    assert store.keys() == []


def test_a_key_that_is_none_is_refused(store):
    with store.writer() as writer, pytest.raises(StoreError, match="no clip's key"):
        writer.add("clip-1", {}, frames=1, seconds=1.0)
    with pytest.raises(StoreError, match="keys"):
        store.missing(["clip-1"])


def test_length_membership_name_and_cache_folder(tmp_path):
    store = FeatureStore.create(tmp_path, extraction())
    assert store
    assert len(store) == 0
    held = clips(store.extraction, 3, seed=1)
    fill(store, held)
    assert len(store) == 3
    assert all(key in store for key in held)
    assert "f" * 64 not in store
    assert store.cache == tmp_path
    assert repr(store) == f"FeatureStore({str(store.folder)!r}, model='tiny', clips=3)"
