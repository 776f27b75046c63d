"""What changes a store's shards has in common: the lock, and the copying of clips into a new shard.

Nothing is removed before the shard that replaces it is on disk: a kill at any moment leaves every clip held,
some perhaps twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from layerprobe.cache.common.disk import abandoned_files, fsync_folder, locked, require_space
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.shard import (
    ShardWriter,
    digests_to_keys,
    open_shard,
    read_digests,
    read_entries,
    reporting_damage,
)

MAINTENANCE_LOCK = ".maintenance.lock"
COPY_BYTES = 8 << 20  # of one layer, in memory at once


@dataclass(frozen=True)
class ShardSelection:
    """Clips to be taken from one shard: `keep` (clips,) bool over its table."""

    shard: Path
    keep: np.ndarray


@contextmanager
def maintenance_lock(folder: Path) -> Iterator[None]:
    """Be the only process that moves or removes this store's shards. Raises StoreError if another one is,
    and for every fault of the disk in the block: what is half done then is whole, and can be done again."""
    try:
        with locked(folder / MAINTENANCE_LOCK, wait=False):
            abandoned_files(folder, remove=True)
            yield
    except BlockingIOError as error:
        raise StoreError(
            "another process is compacting, pruning or repairing it", where=str(folder)
        ) from error
    except OSError as error:
        what = f"cannot be changed ({error.strerror or error})"
        raise StoreError(what, where=str(folder), do="mend it and run again: no clip is lost") from error


def merge_clips(folder: Path, extraction: Extraction, pieces: Sequence[ShardSelection]) -> Path:
    """One new shard with the clips of all pieces, in their order, checked after it was written.

    Raises StoreError where a source is damaged or the disk has no room, OSError where it refuses the shard.
    """
    fingerprint = extraction.fingerprint()
    entries, rows = [], []
    for piece in pieces:
        with open_shard(piece.shard, fingerprint) as old:
            table = read_entries(old, piece.shard)
        entries += [entry for entry, keep in zip(table, piece.keep, strict=True) if keep]
        rows.append(np.repeat(piece.keep, [entry.rows for entry in table]))
    total = sum(int(r.sum()) for r in rows)
    require_space(folder, total * extraction.bytes_per_row())
    with ShardWriter(folder, extraction, rows=total) as new:
        for piece, keep in zip(pieces, rows, strict=True):
            with open_shard(piece.shard, fingerprint) as old:
                for layer in extraction.layers:
                    for states in _blocks(old, piece.shard, layer, keep):
                        new.append(layer, states)
        path = new.finish(entries)
    if digests_to_keys(read_digests(path, fingerprint)) != [entry.key for entry in entries]:
        raise StoreError("the new shard does not hold what was written to it", where=str(path))
    return path


def remove_shards(shards: Sequence[Path]) -> None:
    """Remove shards durably. Raises OSError."""
    for path in shards:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in shards}:
        fsync_folder(folder)


def _blocks(file: h5py.File, path: Path, layer: str, keep: np.ndarray) -> Iterator[np.ndarray]:
    """The kept rows of one layer, some MiB at a time."""
    with reporting_damage(path):
        dataset = file["states"][layer]
        row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    step = max(1, COPY_BYTES // row_bytes)
    for begin in range(0, len(keep), step):
        some = keep[begin : begin + step]
        if some.any():
            with reporting_damage(path):
                block = dataset[begin : begin + step]
            yield block if some.all() else block[some]
