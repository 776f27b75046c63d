"""Merge many small shards into few and remove duplicate clips, while others read and write the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import program
from layerprobe.cache.maintenance.rewrite import ShardSelection, maintenance_lock, merge_clips, remove_shards
from layerprobe.cache.maintenance.verify import check_shard
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.location.folders import refuse_remote
from layerprobe.cache.store.shard import list_shards, stat_shards

SHARD_BYTES = 256 << 20  # of states in a compacted shard
SHARD_CLIPS = 100_000


@dataclass(frozen=True)
class Compaction:
    """What `compact` did to one store; `duplicates` is the number of clips removed."""

    folder: Path
    model: str
    fingerprint: str
    clips: int
    duplicates: int
    shards_before: int
    shards_after: int
    bytes_before: int
    bytes_after: int


def compact(store: FeatureStore) -> Compaction:
    """Merge small shards and remove duplicates. Readers and writers may continue; a kill loses nothing.

    Checks every shard first, so that no good copy of a clip is removed in favour of a damaged one. Raises
    StoreError for a damaged shard, if another process maintains the store, and without space for a new shard.
    """
    folder = store.folder
    refuse_remote(store.cache, "compacted")
    with maintenance_lock(folder):
        in_use = store.index().copies_in_use()
        before = {name: stat.st_size for name, stat in stat_shards(folder, in_use).items()}
        for name in in_use:
            reason = check_shard(folder / name, store.extraction).reason
            if reason:
                do = f"run `{program()} cache verify --repair` first"
                what = reason if reason.startswith("damaged") else f"damaged shard ({reason})"
                raise StoreError(what, where=str(folder / name), do=do)
        for group in _groups(in_use, before):
            selections = [ShardSelection(folder / name, in_use[name]) for name in group if in_use[name].any()]
            new = [merge_clips(folder, store.extraction, selections)] if selections else []
            remove_shards([folder / name for name in group if folder / name not in new])
        after = stat_shards(folder, list_shards(folder))
    return Compaction(
        folder=folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        clips=len(store),
        duplicates=sum(int((~mask).sum()) for mask in in_use.values()),
        shards_before=len(before),
        shards_after=len(after),
        bytes_before=sum(before.values()),
        bytes_after=sum(stat.st_size for stat in after.values()),
    )


def _groups(in_use: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> list[list[str]]:
    """Groups of shards to merge into one each; large shards without duplicates are in none."""
    groups: list[list[str]] = [[]]
    nbytes, clips = 0.0, 0
    for name, mask in in_use.items():
        if mask.all() and sizes[name] > SHARD_BYTES // 2:
            continue
        used_bytes, used_clips = sizes[name] * float(mask.mean()), int(mask.sum())
        if nbytes + used_bytes > SHARD_BYTES or clips + used_clips > SHARD_CLIPS:
            groups.append([])
            nbytes, clips = 0.0, 0
        groups[-1].append(name)
        nbytes += used_bytes
        clips += used_clips
    return [group for group in groups if len(group) > 1 or not all(in_use[name].all() for name in group)]
