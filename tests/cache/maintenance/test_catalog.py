"""What a cache contains, and what is wrong with it."""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.maintenance.catalog import describe_cache, find_store, open_stores
from layerprobe.cache.store import failures
from tests.stores import clips, extraction, fill


def test_describe_cache_reports_each_store(tmp_path):
    store = FeatureStore.create(tmp_path, extraction())
    held = clips(store.extraction, 30, seed=1)
    fill(store, held)
    fill(store, dict(list(held.items())[:6]))
    failures.update(store.folder, failed={("/x.wav", 1.0, None): failures.Failure("silent")}, succeeded=[])
    with store.writer():
        (one,) = describe_cache(tmp_path).stores
        assert one.being_written
    done = failures.Failure("out of memory", next(iter(held)))
    failures.update(store.folder, failed={("/y.wav", None, None): done}, succeeded=[])
    (one,) = describe_cache(tmp_path).stores
    assert (one.model, one.fingerprint, one.folder) == ("tiny", store.extraction.fingerprint(), store.folder)
    assert (one.clips, one.duplicates, one.shards, one.failed) == (30, 6, 2, 1)
    assert one.hours == pytest.approx(30 / 3600)
    assert (one.layers, one.stats, one.dtype) == (("0", "1", "cnn"), ("mean", "std"), "float16")
    files = [*store.folder.glob("shard-*"), store.folder / "extraction.json"]
    assert one.nbytes == sum(path.stat().st_size for path in files)
    assert abs(datetime.now(UTC) - one.last_write) < timedelta(minutes=5)
    assert not one.being_written


def test_a_damaged_store_is_reported_with_the_others(tmp_path):
    stores = [FeatureStore.create(tmp_path, extraction(model=m, weights=m)) for m in "abc"]
    for store in stores:
        fill(store, clips(store.extraction, 2, seed=1))
    next(stores[0].folder.glob("shard-*")).write_bytes(b"")
    (stores[1].folder / "extraction.json").write_text("{}")
    info = describe_cache(tmp_path)
    assert [store.model for store in info.stores] == ["c"]
    assert len(info.faults) == 2
    assert "extraction.json" in info.faults[0]
    assert "damaged shard" in info.faults[1]
    assert [s.extraction.model for s in open_stores(tmp_path, model="a")[0]] == ["a"]


def test_a_damaged_list_of_failures_hides_no_store(tmp_path):
    store = FeatureStore.create(tmp_path, extraction())
    fill(store, clips(store.extraction, 2, seed=1))
    (store.folder / "failures.csv").write_text("garbage")
    info = describe_cache(tmp_path)
    assert [(one.clips, one.failed) for one in info.stores] == [(2, None)]
    assert "not a table of failures" in info.faults[0]


def test_saved_digests_and_measurements_are_counted(tmp_path):
    (tmp_path / "digests.db").write_bytes(b"12345")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "measures.npz").write_bytes(b"123")
    info = describe_cache(tmp_path)
    assert (info.stores, info.faults, info.remembered) == ([], [], 8)


def test_a_second_extraction_of_fewer_layers_is_not_ambiguous(tmp_path, capsys):
    wide = FeatureStore.create(tmp_path, extraction(model="m"))
    FeatureStore.create(tmp_path, extraction(model="m", layers=("1",), widths=(8,), stats=("mean",)))
    match = {"model": "m"}
    assert find_store(tmp_path, model="m", match=match).folder == wide.folder
    said = capsys.readouterr().err
    assert f"holds m in 2 ways; used: {wide.extraction.fingerprint()}: layers 0,1,cnn" in said


@pytest.mark.parametrize(
    "other", [{"precision": "bf16"}, {"layers": ("0", "2"), "widths": (8, 8)}, {"weights": "seed:1"}]
)
def test_stores_of_which_none_includes_the_other_are_ambiguous(tmp_path, other):
    FeatureStore.create(tmp_path, extraction(model="m"))
    FeatureStore.create(tmp_path, extraction(model="m", **other))
    with pytest.raises(StoreError, match=r"holds m in 2 ways .*choose one with --fingerprint"):
        find_store(tmp_path, model="m", match={"model": "m"})


def test_stores_that_differ_in_a_single_setting_are_told_apart_by_it(tmp_path):
    """Each field of the fingerprint, so that no message lists stores without saying how they differ."""
    changed = {"str": "other", "bool": False, "float": 7.0, "int": 7}
    for field in fields(Extraction):
        if field.name in ("model", "notes", "layers", "widths", "stats", "dtype"):
            continue
        stores = [extraction(model="m"), extraction(model="m", **{field.name: changed[str(field.type)]})]
        cache = tmp_path / field.name
        for one in stores:
            FeatureStore.create(cache, one)
        with pytest.raises(StoreError, match="holds m in 2 ways") as refused:
            find_store(cache, model="m", match={"model": "m"})
        for one in stores:
            value = getattr(one, field.name)
            assert f"{one.fingerprint()}: {field.name} {value}" in str(refused.value)


def test_a_store_without_clips_leaves_nothing_to_choose(tmp_path):
    """Such as that of `embed --track 7`, where no file has so many."""
    store = FeatureStore.create(tmp_path, extraction(model="m"))
    FeatureStore.create(tmp_path, extraction(model="m", track=7))
    fill(store, clips(store.extraction, 2, seed=1))
    assert find_store(tmp_path, model="m", match={"model": "m"}).folder == store.folder


def test_frames_that_were_not_stored_are_named(tmp_path):
    FeatureStore.create(tmp_path, extraction(model="m"))
    with pytest.raises(
        StoreError, match=r"holds m, but not with states of every frame \(there is .* --frames"
    ):
        find_store(tmp_path, model="m", match={"model": "m"}, frames=True)


def test_a_missing_cache_is_empty(tmp_path):
    info = describe_cache(tmp_path / "nowhere")
    assert (info.stores, info.faults) == ([], [])


@pytest.mark.parametrize("inside", [True, False], ids=["model", "cache"])
def test_a_folder_that_this_user_may_not_read_is_not_called_empty(tmp_path, monkeypatch, inside):
    store = FeatureStore.create(tmp_path, extraction(model="m"))
    closed = store.folder.parent if inside else tmp_path
    access = os.access  # root may read everything
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and access(path, mode))
    _, faults = open_stores(tmp_path)
    assert [fault.where for fault in faults] == [str(closed)]
    with pytest.raises(StoreError, match=r"cannot be read \(Permission denied\).*docs/cache\.md") as refused:
        find_store(tmp_path, model="m", match={"model": "m"})
    assert str(closed) in refused.value.line()
