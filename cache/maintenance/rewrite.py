"""What compact, prune and repair share: the lock, and copying clips into a new shard.

No shard is removed before its replacement is on disk: a kill at any moment loses no clip, and at worst leaves
some stored twice.
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
from layerprobe.cache.store.keys import digests_to_keys
from layerprobe.cache.store.shard import (
    ShardWriter,
    layer_dataset,
    open_shard,
    read_digests,
    read_entries,
    reporting_damage,
)

MAINTENANCE_LOCK = ".maintenance.lock"
COPY_BYTES = 8 << 20  # of one layer, in memory at once


@dataclass(frozen=True)
class ShardSelection:
    """Clips to copy from one shard: `keep` (clips,) bool over its table."""

    shard: Path
    keep: np.ndarray


@contextmanager
def maintenance_lock(folder: Path) -> Iterator[None]:
    """Be the only process that moves or removes this store's shards.

    Raises StoreError if another process is, and for disk errors inside the block: the store is then still
    consistent, and the operation can be repeated.
    """
    try:
        with locked(folder / MAINTENANCE_LOCK, wait=False):
            abandoned_files(folder, remove=True)
            yield
    except BlockingIOError as error:
        what = "another process is compacting, pruning or repairing it"
        raise StoreError(what, where=str(folder)) from error
    except OSError as error:
        what = f"cannot be changed ({error.strerror or error})"
        raise StoreError(
            what, where=str(folder), do="fix the cause and run again: no clip is lost"
        ) from error


def merge_clips(folder: Path, extraction: Extraction, selections: Sequence[ShardSelection]) -> Path:
    """Copy the clips of all selections, in their order, to one new shard, and check it.

    Raises StoreError where a source is damaged or space is insufficient, OSError where writing fails.
    """
    fingerprint = extraction.fingerprint()
    entries, row_masks = [], []
    for selection in selections:
        with open_shard(selection.shard, fingerprint) as source:
            table = read_entries(source, selection.shard, row_bytes=extraction.bytes_per_row())
        entries += [entry for entry, keep in zip(table, selection.keep, strict=True) if keep]
        row_masks.append(np.repeat(selection.keep, [entry.rows for entry in table]))
    rows = sum(int(mask.sum()) for mask in row_masks)
    require_space(folder, rows * extraction.bytes_per_row())
    with ShardWriter(folder, extraction, rows=rows) as merged:
        for selection, mask in zip(selections, row_masks, strict=True):
            with open_shard(selection.shard, fingerprint) as source:
                for layer in extraction.layers:
                    with reporting_damage(selection.shard):
                        dataset = layer_dataset(source, layer, extraction, rows=len(mask))
                    for begin, states in read_blocks(dataset, selection.shard):
                        selected = mask[begin : begin + len(states)]
                        merged.append(layer, states if selected.all() else states[selected])
        merged.finish(entries)
        path = merged.publish()
    if digests_to_keys(read_digests(path, fingerprint)) != [entry.key for entry in entries]:
        raise StoreError("the new shard does not hold what was written to it", where=str(path))
    return path


def remove_shards(shards: Sequence[Path]) -> None:
    """Delete shards durably. Raises OSError."""
    for path in shards:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in shards}:
        fsync_folder(folder)


def read_blocks(dataset: h5py.Dataset, path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """First row and rows of consecutive blocks of one layer, at most COPY_BYTES each. Raises StoreError."""
    row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    step = max(1, COPY_BYTES // row_bytes)
    for begin in range(0, len(dataset), step):
        with reporting_damage(path):
            block = dataset[begin : begin + step]
        yield begin, block
