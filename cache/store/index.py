"""Where each clip of a store lies: made in memory from the shards' own keys, so that it cannot lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShardRows:
    """Wanted clips that lie in one shard: `rows` in the shard's table, `wanted` in what was asked for."""

    shard: str
    rows: np.ndarray
    wanted: np.ndarray


class ClipIndex:
    """Digests of every clip held, sorted, with shard and row. A clip held twice is known once.

    shards: name → the shard's digests (clips,) S32. Takes 40 bytes a clip beyond them.
    """

    def __init__(self, shards: Mapping[str, np.ndarray]) -> None:
        self.shards = dict(sorted(shards.items()))
        self._names = list(self.shards)
        counts = [len(d) for d in self.shards.values()]
        digests = np.concatenate([np.empty(0, "S32"), *self.shards.values()])
        order = _sorted(digests)
        digests = digests[order]
        first = np.ones(len(digests), bool)
        first[1:] = digests[1:] != digests[:-1]
        self.digests, order = digests[first], order[first]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._shard = (np.searchsorted(starts, order, side="right") - 1).astype(np.int32)
        self._row = (order - starts[self._shard]).astype(np.int32)

    def stored(self) -> np.ndarray:
        """(N,) S32: every digest once, in the order in which they lie on disk."""
        return self.digests[np.lexsort((self._row, self._shard))]

    def kept(self) -> dict[str, np.ndarray]:
        """Shard → (clips,) bool: the copies that are read. The others are duplicates."""
        masks = {name: np.zeros(len(d), bool) for name, d in self.shards.items()}
        for place in self.places(np.arange(len(self.digests)), np.arange(len(self.digests))):
            masks[place.shard][place.rows] = True
        return masks

    def find(self, digests: np.ndarray) -> np.ndarray:
        """(N,) positions among the sorted digests, -1 where one is not held."""
        if not len(self.digests):
            return np.full(len(digests), -1)
        at = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return np.where(self.digests[at] == digests, at, -1)

    def places(self, positions: np.ndarray, wanted: np.ndarray) -> Iterator[ShardRows]:
        """Group positions (none -1) by shard, each with rows rising; `wanted` travels with them."""
        shard, row = self._shard[positions], self._row[positions]
        order = np.lexsort((row, shard))
        shard, row, wanted = shard[order], row[order], wanted[order]
        cuts = np.flatnonzero(np.diff(shard)) + 1
        for part in np.split(np.arange(len(shard)), cuts):
            if len(part):
                yield ShardRows(self._names[shard[part[0]]], row[part], wanted[part])


def _sorted(digests: np.ndarray) -> np.ndarray:
    """(N,) the stable order of (N,) S32: of duplicates the first shard's comes first.

    By the first eight bytes as numbers, which is several times as fast; digests that differ there no more are
    so rare that all are then sorted whole.
    """
    order = np.argsort(digests.view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64), kind="stable")
    found = digests[order]
    return np.argsort(digests, kind="stable") if (found[1:] < found[:-1]).any() else order
