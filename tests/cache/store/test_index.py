"""The index of clips, compared with a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache import FeatureStore
from layerprobe.cache.maintenance.compact import compact
from layerprobe.cache.store import index as index_module
from layerprobe.cache.store.index import ClipIndex
from layerprobe.cache.store.shard import list_shards
from tests.stores import clips, extraction, fill

DIGESTS = st.sampled_from(
    [bytes([0] * 31 + [i]) for i in range(6)] + [bytes([i] + [0] * 31) for i in range(6)]
)


def array(raw: list[bytes]) -> np.ndarray:
    return np.array(raw, "S32")


@given(
    shards=st.dictionaries(st.sampled_from("abcd"), st.lists(DIGESTS, max_size=8, unique=True)),
    asked=st.lists(DIGESTS, max_size=8),
)
def test_each_clip_is_found_once_in_its_first_shard(shards, asked):
    index = ClipIndex({name: array(digests) for name, digests in shards.items()})
    expected = {}
    for name in sorted(shards, reverse=True):
        expected.update({digest: (name, row) for row, digest in enumerate(shards[name])})
    assert len(index.digests) == len(expected)
    positions = index.find(array(asked))
    assert [p >= 0 for p in positions] == [digest in expected for digest in asked]
    held = [i for i, p in enumerate(positions) if p >= 0]
    found = {}
    for group in index.by_shard(positions[held], np.array(held, int)):
        assert (np.diff(group.rows) >= 0).all()
        found.update(
            {int(i): (group.shard, int(r)) for i, r in zip(group.positions, group.rows, strict=True)}
        )
    assert found == {i: expected[asked[i]] for i in held}
    used = {(name, row) for name, mask in index.copies_in_use().items() for row in np.flatnonzero(mask)}
    assert used == set(expected.values())


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Three shards of two clips each."""
    made = FeatureStore.create(tmp_path, extraction())
    for seed in range(3):
        fill(made, clips(made.extraction, 2, seed=seed))
    return made


def listing(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[frozenset[str]], frozenset[str]]
) -> list[frozenset[str]]:
    """Let `change` see and replace the first listing of a folder; returns all listings."""
    seen: list[frozenset[str]] = []

    def changed(folder: Path) -> frozenset[str]:
        names = list_shards(folder)
        seen.append(names)
        if len(seen) == 1:
            seen[0] = names = change(names)
        return names

    monkeypatch.setattr(index_module, "list_shards", changed)
    return seen


def test_a_compaction_between_listing_and_reading_hides_no_clip(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compacted(names: frozenset[str]) -> frozenset[str]:
        compact(FeatureStore(store.folder))
        return names

    keys = store.keys()
    seen = listing(monkeypatch, compacted)
    fresh = FeatureStore(store.folder)
    assert fresh.missing(keys) == []
    assert len(seen[0]) == 3
    assert len(seen[-1]) == 1


@pytest.mark.parametrize("hidden", [1, 3])
def test_a_listing_that_missed_shards_is_not_the_last(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, hidden: int
) -> None:
    """A folder that changes while it is listed can show neither the old nor the new shard."""
    keys = store.keys()
    seen = listing(monkeypatch, lambda names: frozenset(sorted(names)[hidden:]))
    fresh = FeatureStore(store.folder)
    assert fresh.missing(keys) == []
    assert len(seen[0]) == 3 - hidden
    assert seen[-1] == seen[-2] == list_shards(store.folder)


def test_known_shards_are_neither_read_nor_listed_again(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = store.index()
    seen = listing(monkeypatch, lambda names: names)
    assert store.index() is known
    assert len(seen) == 1
