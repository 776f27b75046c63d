"""Which shard has which clip: an index in memory, built from the shards' own keys, so never out of date."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layerprobe.cache.store.shard import list_shards, read_digests, stat_shards

Opened = Callable[[str], AbstractContextManager[Path]]


class ShardStatus(NamedTuple):
    """Bytes of a shard, and when it was last written, in seconds since 1970."""

    nbytes: int
    modified: float


class Shards:
    """The shards of a store in a local folder; `location.remote_shards` has those on object storage.

    folder: of the store. written: where a writer puts new shards.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    @property
    def written(self) -> Path:
        return self.folder

    def names(self) -> frozenset[str]:
        """Of all shards. Raises StoreError."""
        return list_shards(self.folder)

    def prepare(self, names: Collection[str]) -> None:
        """Make ready that the tables of these shards will be read."""

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """A shard's file, which stays while the block runs; it need not exist any more."""
        yield self.folder / name

    @contextmanager
    def in_order(self, names: Sequence[str]) -> Iterator[Opened]:
        """`opened`, for shards that are opened in this order, each once; they may be fetched ahead of it."""
        del names
        yield self.opened

    @contextmanager
    def table(self, name: str) -> Iterator[Path]:
        """A file with a shard's table of clips, as `opened`."""
        yield self.folder / name

    def status(self, names: Iterable[str]) -> dict[str, ShardStatus]:
        """Of those of the shards that exist. Raises OSError."""
        stats = stat_shards(self.folder, names)
        return {name: ShardStatus(stat.st_size, stat.st_mtime) for name, stat in stats.items()}

    def renew(self, name: str) -> None:
        """Make sure that `opened` reads the shard itself, not an older copy. Raises DamagedError."""

    def forget(self) -> None:
        """A shard was not there: what is known of them is out of date."""

    def disk_bytes(self, nbytes: int) -> int:
        """Of states on object storage or here, those that a local disk must have room for."""
        return nbytes

    def publish(self, shard: Path) -> None:
        """A writer has written a shard to `written`. Raises StoreError."""

    def complete(self) -> None:
        """Wait until every shard that was written is where readers look. Raises StoreError."""

    def share_records(self) -> None:
        """Give other machines the list of failures, costs and hashes of files. Raises StoreError."""


@dataclass(frozen=True)
class ShardRows:
    """Requested clips of a shard of `clips`: their `rows` in its table, their `positions` in the request."""

    shard: str
    clips: int
    rows: np.ndarray
    positions: np.ndarray


class ClipIndex:
    """Sorted digests of every stored clip, with shard and row. A clip stored twice is listed once.

    shards: name → the shard's digests (clips,) S32. Needs 48 bytes per clip in addition to them.
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
        self._prefixes = _prefixes(self.digests)
        self._distinct = bool((self._prefixes[1:] != self._prefixes[:-1]).all())
        starts = np.cumsum([0, *map(len, self.shards.values())])
        self._shard = (np.searchsorted(starts, order, side="right") - 1).astype(np.int32)
        self._row = (order - starts[self._shard]).astype(np.int32)

    def refreshed(self, source: Shards) -> ClipIndex:
        """The index of the shards that there are now; itself if they are the same."""
        # A change during a listing can hide both the old and the new shard: list until stable.
        index, before, names = self, frozenset(self.shards) or None, source.names()
        while names != before or names != index.shards.keys():
            shards = {name: digests for name, digests in index.shards.items() if name in names}
            source.prepare(names - shards.keys())
            for name in names - shards.keys():
                try:
                    with source.table(name) as table:
                        shards[name] = read_digests(table, source.fingerprint)
                except FileNotFoundError:  # a compaction moved its clips to another shard
                    source.forget()
            index = ClipIndex(shards)
            before, names = names, source.names()
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
        by_prefix = self._distinct
        sought = _prefixes(digests) if by_prefix else digests
        entries = np.searchsorted(self._prefixes if by_prefix else self.digests, sought)
        entries = np.minimum(entries, len(self.digests) - 1)
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


def _prefixes(digests: np.ndarray) -> np.ndarray:
    """(N,) uint64: the first eight bytes of digests (N,) S32, which are searched several times as fast."""
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


def _sort_order(digests: np.ndarray) -> np.ndarray:
    """(N,) stable sort order of (N,) S32: of duplicates, the first shard's comes first.

    Sorts by the first eight bytes as integers, which is several times as fast. Digests that differ only after
    these are so rare that all are then sorted by all bytes.
    """
    order = np.argsort(_prefixes(digests), kind="stable")
    by_prefix = digests[order]
    return np.argsort(digests, kind="stable") if (by_prefix[1:] < by_prefix[:-1]).any() else order
