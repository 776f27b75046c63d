from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import InputError, MissingStatesError
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.features.joined import read_layer
from layerprobe.classify.features.streamed import stored as module
from layerprobe.classify.features.streamed.stored import StoredStates
from tests.stores import clips, extraction, fill
from tests.streamed import stored


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Seventy clips in several shards."""
    made = FeatureStore.create(tmp_path_factory.mktemp("cache"), extraction())
    for seed in range(7):
        fill(made, clips(extraction(), 10, seed=seed))
    assert len(made.index().shards) == 7
    return made


@pytest.mark.parametrize(
    ("layer", "stats"), [("0", ("mean", "std")), ("cnn", ("std",)), ("0+1", ("std", "mean"))]
)
def test_the_file_has_the_states_in_the_order_of_the_table(
    layer: str, stats: tuple[str, ...], store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_BYTES", 500)  # a few clips at a time
    keys = np.random.default_rng(1).permutation(store.keys())[:50].tolist()
    keys.append(keys[0])  # a clip that the table has twice
    file = StoredStates.write(store, layer, keys, stats=stats)
    np.testing.assert_array_equal(file.read(np.arange(51)), read_layer(store, layer, keys, stats=stats))


@given(st.lists(st.integers(0, 99), max_size=60), st.booleans())
def test_any_rows_are_read(rows: list[int], ascending: bool) -> None:
    numbers = np.array(sorted(set(rows)) if ascending else rows, np.int64)
    np.testing.assert_array_equal(FILE.read(numbers), X[numbers])


X = np.random.default_rng(0).standard_normal((100, 7)).astype(np.float32)
FILE = stored(X)


def test_no_rows_and_no_clips_are_no_error(store: FeatureStore) -> None:
    assert FILE.read(np.empty(0, np.int64)).shape == (0, 7)
    assert StoredStates.write(store, "0", [], stats=["mean"]).read(np.empty(0, np.int64)).shape == (0, 8)


def test_a_clip_that_is_not_stored_is_named(store: FeatureStore) -> None:
    with pytest.raises(MissingStatesError, match="1 of 2 clips are not held"):
        StoredStates.write(store, "0", [store.keys()[0], "0" * 64], stats=["mean"])


def test_a_full_disk_is_one_line_that_names_the_folder(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match=r"no temporary file of 4\.48 kB can be written \(No space left"):
        StoredStates.write(store, "0", store.keys(), stats=["mean", "std"])
    with pytest.raises(InputError) as error:
        StoredStates.write(store, "0", store.keys(), stats=["mean", "std"])
    assert error.value.where == str(tmp_path)
    assert "TMPDIR" in str(error.value)


def test_the_file_has_no_name_and_leaves_nothing(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = StoredStates.write(store, "0", store.keys(), stats=["mean"])
    assert len(file.read(np.arange(70))) == 70
    assert list(tmp_path.iterdir()) == []
