"""A shard's table of clips as a file of its own: the shard without its states.

Where shards are on object storage, this small object beside each one tells what it has, without a download of
its states. It is read as a shard is.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from layerprobe.cache.common.disk import atomic_file
from layerprobe.cache.store.deferred_error_file import DeferredErrorFile
from layerprobe.cache.store.shard import COLUMNS, open_shard, read_column, reporting_damage

FOLDER = "tables"  # in the store
_PARTS = ("schema", "fingerprint", "stats", "frame_rate", "receptive_field")  # attributes


def table_name(shard: str) -> str:
    """`shard-….h5` → `tables/table-….h5`."""
    return f"{FOLDER}/{shard.replace('shard-', 'table-', 1)}"


def write_table(shard: Path, target: Path, *, fingerprint: str) -> None:
    """Write the table of a shard, atomically. Raises StoreError for a damaged shard, and OSError."""
    target.parent.mkdir(exist_ok=True)
    with open_shard(shard, fingerprint) as source, reporting_damage(shard), atomic_file(target) as raw:
        output = DeferredErrorFile(raw.fileno())
        with h5py.File(output, "w", libver=("v110", "v110")) as file:
            for name in _PARTS:
                file.attrs[name] = source.attrs[name]
            for name in COLUMNS:
                column = read_column(source, name)
                file.create_dataset(name, data=column, chunks=column.shape, fletcher32=True)
        output.check()
