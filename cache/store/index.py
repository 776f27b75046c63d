"""Which shard has which clip: an index in memory, built from the shards' own keys, so never out of date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerprobe.cache.store.shard import list_shards, read_digests


@dataclass(frozen=True)
class ShardRows:
    """Requested clips of a shard of `clips`: their `rows` in its table, their `positions` in the request."""

    shard: str
    clips: int
    rows: np.ndarray
    positions: np.ndarray


class ClipIndex:
    """Sorted digests of every stored clip, with shard and row. A clip stored twice is listed once.

    shards: name → the shard's digests (clips,) S32. Needs 40 bytes per clip in addition to them.
    """

    def __init__(self, shards: Mapping[str, np.ndarray]) -> None:
        self.shards = dict(sorted(shards.items()))
        self._names = list(self.shards)
        digests = np.concatenate([np.empty(0, "S32"), *self.shards.values()])
        order = _sort_order(digests)
        digests = digests[order]
        first = np.ones(len(digests), bool)
        first[1:] = digests[1:] != digests[:-1]
        self.digests, order = digests[first], order[first]
        starts = np.cumsum([0, *map(len, self.shards.values())])
        self._shard = (np.searchsorted(starts, order, side="right") - 1).astype(np.int32)
        self._row = (order - starts[self._shard]).astype(np.int32)

    def refreshed(self, folder: Path, fingerprint: str) -> ClipIndex:
        """The index of the shards that are in `folder` now; itself if they are the same."""
        # A change during a listing can hide both the old and the new shard: list until stable.
        index, before, names = self, frozenset(self.shards) or None, list_shards(folder)
        while names != before or names != index.shards.keys():
            shards = {}
            for name in names:
                with suppress(FileNotFoundError):  # a compaction moved its clips to another shard
                    known = index.shards.get(name)
                    shards[name] = read_digests(folder / name, fingerprint) if known is None else known
            index = ClipIndex(shards)
            before, names = names, list_shards(folder)
        return index

    def in_disk_order(self) -> np.ndarray:
        """(N,) S32: every digest once, in the order of shards and rows on disk."""
        return self.digests[np.lexsort((self._row, self._shard))]

    def copies_in_use(self) -> dict[str, np.ndarray]:
        """Shard → (clips,) bool: the copies that are read. The others are duplicates."""
        masks = {name: np.zeros(len(digests), bool) for name, digests in self.shards.items()}
        every = np.arange(len(self.digests))
        for shard_rows in self.by_shard(every, every):
            masks[shard_rows.shard][shard_rows.rows] = True
        return masks

    def find(self, digests: np.ndarray) -> np.ndarray:
        """(N,) entries of these digests (N,) S32 in the sorted digests, -1 for a clip that is not stored."""
        if not len(self.digests):
            return np.full(len(digests), -1)
        entries = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return np.where(self.digests[entries] == digests, entries, -1)

    def by_shard(self, entries: np.ndarray, positions: np.ndarray) -> Iterator[ShardRows]:
        """Group entries (none -1) by shard, with ascending rows; `positions` are reordered with them."""
        shard, row = self._shard[entries], self._row[entries]
        order = np.lexsort((row, shard))
        shard, row, positions = shard[order], row[order], positions[order]
        for group in np.split(np.arange(len(shard)), np.flatnonzero(np.diff(shard)) + 1):
            if len(group):
                name = self._names[shard[group[0]]]
                yield ShardRows(name, len(self.shards[name]), row[group], positions[group])


def _sort_order(digests: np.ndarray) -> np.ndarray:
    """(N,) stable sort order of (N,) S32: of duplicates, the first shard's comes first.

    Sorts by the first eight bytes as integers, which is several times as fast. Digests that differ only after
    these are so rare that all are then sorted by all bytes.
    """
    order = np.argsort(digests.view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64), kind="stable")
    by_prefix = digests[order]
    return np.argsort(digests, kind="stable") if (by_prefix[1:] < by_prefix[:-1]).any() else order
