"""Many small shards → few, and clips that are held twice → once, while others read and write the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import program
from layerprobe.cache.maintenance.rewrite import ShardSelection, maintenance_lock, merge_clips, remove_shards
from layerprobe.cache.maintenance.verify import check_shard
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.shard import list_shards, stat_shards

SHARD_BYTES = 256 << 20  # of states in a compacted shard
SHARD_CLIPS = 100_000


@dataclass(frozen=True)
class Compaction:
    """What `compact` did to one store."""

    folder: Path
    model: str
    fingerprint: str
    clips: int
    duplicates: int  # removed
    shards_before: int
    shards_after: int
    bytes_before: int
    bytes_after: int


def compact(store: FeatureStore) -> Compaction:
    """Merge small shards and drop duplicates. Readers and writers may go on; a kill loses nothing.

    Every shard is checked first: a good copy of a clip is never dropped for a damaged one. Raises StoreError
    where a shard is damaged, another process is at the same work, or the disk has no room for one new shard.
    """
    folder = store.folder
    with maintenance_lock(folder):
        kept = store.index().kept()
        before = _sizes(folder, kept)
        for name in kept:
            reason = check_shard(folder / name, store.extraction).reason
            if reason:
                do = f"run `{program()} cache verify --repair` first"
                raise StoreError(f"damaged shard ({reason})", where=str(folder / name), do=do)
        for group in _groups(kept, before):
            pieces = [ShardSelection(folder / name, kept[name]) for name in group if kept[name].any()]
            new = [merge_clips(folder, store.extraction, pieces)] if pieces else []
            remove_shards([folder / name for name in group if folder / name not in new])
        after = _sizes(folder, list_shards(folder))
    return Compaction(
        folder=folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        clips=len(store.keys()),
        duplicates=sum(int((~keep).sum()) for keep in kept.values()),
        shards_before=len(before),
        shards_after=len(after),
        bytes_before=sum(before.values()),
        bytes_after=sum(after.values()),
    )


def _sizes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    return {name: stat.st_size for name, stat in stat_shards(folder, names).items()}


def _groups(kept: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> list[list[str]]:
    """Shards that become one, a group each; those that are large enough and hold no duplicate are in none."""
    groups: list[list[str]] = [[]]
    nbytes, clips = 0.0, 0
    for name, keep in kept.items():
        if keep.all() and sizes[name] > SHARD_BYTES // 2:
            continue
        adds = sizes[name] * float(keep.mean())
        if nbytes + adds > SHARD_BYTES or clips + keep.sum() > SHARD_CLIPS:
            groups.append([])
            nbytes, clips = 0.0, 0
        groups[-1].append(name)
        nbytes += adds
        clips += int(keep.sum())
    return [group for group in groups if len(group) > 1 or not all(kept[name].all() for name in group)]
