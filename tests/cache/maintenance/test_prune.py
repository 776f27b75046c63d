"""Pruning removes what was planned, and nothing else."""

from __future__ import annotations

import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.maintenance import prune
from layerprobe.cache.maintenance.verify import verify
from layerprobe.cache.store import failures
from layerprobe.cache.store.shard import list_shards
from tests.stores import check, clips, extraction, fill


@pytest.fixture
def three(tmp_path):
    """Stores of one model in two ways and of another one, all with the same ten clips in two shards."""
    stores = [
        FeatureStore.create(tmp_path, extraction(**changes))
        for changes in ({}, {"window": 5.0}, {"model": "other", "weights": "seed:1"})
    ]
    held = clips(stores[0].extraction, 10, seed=1)
    for store in stores:
        fill(store, dict(list(held.items())[:4]))
        fill(store, dict(list(held.items())[4:]))
    return tmp_path, stores, held


def test_pruning_a_model_removes_all_its_stores(three):
    cache, (first, second, other), held = three
    failures.update(first.folder, failed={("/x.wav", None, None): failures.Failure("empty")}, succeeded=[])
    plan = prune.plan_pruning(cache, model="tiny")
    assert [(p.folder, p.clips, p.remaining_clips, p.removes_store) for p in plan.stores] == [
        (folder, 10, 0, True) for folder in sorted([first.folder, second.folder])
    ]
    assert plan.stores[0].nbytes == sum(p.stat().st_size for p in plan.stores[0].folder.glob("shard-*"))
    check(first, held)  # a plan removes nothing
    prune.apply_plan(plan)
    assert [p.name for p in cache.iterdir()] == ["other"]
    check(other, held)
    assert prune.plan_pruning(cache, model="tiny").stores == []


def test_clips_in_no_table_are_removed_from_every_store(three):
    cache, stores, held = three
    keep = dict(list(held.items())[2:8])
    plan = prune.plan_pruning(cache, keep=[*keep, "f" * 64])
    assert [(p.clips, p.remaining_clips, p.removes_store) for p in plan.stores] == [(4, 6, False)] * 3
    prune.apply_plan(plan)
    for store in stores:
        check(store, keep)
        assert not verify(store).damaged
    assert prune.plan_pruning(cache, keep=list(keep)).stores == []


def test_a_shard_with_nothing_to_remove_is_not_rewritten(three):
    cache, (store, *_), held = three
    before = list_shards(store.folder)
    prune.apply_plan(prune.plan_pruning(cache, keep=list(held)[4:]))
    assert len(list_shards(store.folder)) == 1
    assert list_shards(store.folder) < before


def test_model_and_tables_combine_and_an_emptied_store_is_removed(three):
    cache, (first, second, other), held = three
    plan = prune.plan_pruning(cache, model="other", keep=["f" * 64])
    assert [(p.model, p.removes_store) for p in plan.stores] == [("other", True)]
    prune.apply_plan(plan)
    assert not other.folder.exists()
    check(first, held)
    check(second, held)


def test_clips_added_after_the_plan_stay(three):
    cache, (_, _, other), held = three
    keep = list(held)[:5]
    plans = [prune.plan_pruning(cache, model="other", keep=keep), prune.plan_pruning(cache, model="other")]
    late = clips(other.extraction, 2, seed=2)
    fill(other, late)
    prune.apply_plan(plans[0])
    check(other, {**{key: held[key] for key in keep}, **late})
    with pytest.raises(StoreError, match="new clips since it was planned"):
        prune.apply_plan(plans[1])
    assert set(late) <= set(other.keys())


def test_a_store_that_is_being_written_is_not_removed(three):
    cache, (_, _, other), held = three
    plan = prune.plan_pruning(cache, model="other")
    with other.writer(), pytest.raises(StoreError, match="a process writes to it now"):
        prune.apply_plan(plan)
    check(other, held)


def test_a_foreign_file_and_its_folder_stay(three):
    cache, (_, _, other), _ = three
    note = other.folder / "notes.txt"
    note.write_text("mine")
    prune.apply_plan(prune.plan_pruning(cache, model="other"))
    assert list(other.folder.iterdir()) == [note]


def test_an_interrupted_prune_can_be_repeated(three, monkeypatch):
    cache, (_, _, other), _ = three
    plan = prune.plan_pruning(cache, model="other")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        (other.folder / "damaged").mkdir()
        with pytest.raises(StoreError, match="Input/output error"):
            prune.apply_plan(plan)
    assert FeatureStore(other.folder).keys() == []
    prune.apply_plan(prune.plan_pruning(cache, model="other"))
    assert not other.folder.exists()


def test_an_unreadable_store_is_reported_and_not_changed(three):
    cache, (first, _, other), _ = three
    (first.folder / "extraction.json").write_text("{}")
    plan = prune.plan_pruning(cache, model="other")
    assert len(plan.faults) == 1
    assert str(first.folder) in plan.faults[0]
    prune.apply_plan(plan)
    assert not other.folder.exists()
    assert len(list_shards(first.folder)) == 2


def test_pruning_without_model_and_tables_is_refused(three):
    with pytest.raises(StoreError, match="nothing says what may go"):
        prune.plan_pruning(three[0])
