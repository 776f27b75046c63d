"""One layer's states in a temporary file, in the order of the table."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from itertools import pairwise
from typing import IO

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_bytes
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import keys_to_digests
from layerprobe.classify.features.joined import joined_width, read_layer

WRITE_BYTES = 32 << 20  # of states that are read from the store at once
GAP = 8  # rows that are read and dropped rather than skipped by a further read


class StoredStates:
    """States (N, S*width) float32 of one layer, statistics side by side, in an unnamed temporary file.

    The operating system keeps as much of the file in memory as is free, and gives it back when it is needed;
    none of it counts as memory of the process. The file disappears with the object, or the process.
    """

    def __init__(self, file: IO[bytes], *, rows: int, columns: int) -> None:
        self._file, self.rows, self.columns = file, rows, columns
        weakref.finalize(self, file.close)

    @classmethod
    def write(
        cls, store: FeatureStore, layer: str, keys: Sequence[str], *, stats: Sequence[str]
    ) -> StoredStates:
        """Copy a layer, or layers side by side, of these clips; each byte of the store is read once.

        Raises InputError where the folder for temporary files has no room.
        """
        columns = joined_width(store.extraction, layer) * len(stats)
        row_bytes = 4 * columns
        folder = tempfile.gettempdir()
        try:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it is closed with the object)
            states, descriptor = cls(file, rows=len(keys), columns=columns), file.fileno()
            if keys and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, len(keys) * row_bytes)
            order, batch = _disk_order(store, keys), max(1, WRITE_BYTES // row_bytes)
            for begin in range(0, len(keys), batch):
                positions = np.sort(order[begin : begin + batch])
                X = read_layer(store, layer, [keys[i] for i in positions], stats=stats)
                for first, end in _runs(positions, gap=1):
                    _write_all(descriptor, X[first:end], int(positions[first]) * row_bytes)
        except OSError as error:
            needed = format_bytes(len(keys) * row_bytes)
            raise InputError(
                f"no temporary file of {needed} can be written ({error.strerror})",
                where=folder,
                do="set TMPDIR to a folder on a disk with room, or give a --memory that holds the states",
            ) from error
        return states

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(r, S*width) float32: rows by number (r,); ascending ones need the fewest reads."""
        out = np.empty((len(rows), self.columns), np.float32)
        for begin, end in _runs(rows, gap=GAP):
            first, last = int(rows[begin]), int(rows[end - 1])
            complete = last - first + 1 == end - begin
            block = out[begin:end] if complete else np.empty((last - first + 1, self.columns), np.float32)
            _read_all(self._file.fileno(), block, first * 4 * self.columns)
            if not complete:
                out[begin:end] = block[rows[begin:end] - first]
        return out


def _disk_order(store: FeatureStore, keys: Sequence[str]) -> np.ndarray:
    """(N,) indices of the keys in the order of the store's files."""
    index = store.index()
    entries = index.find(keys_to_digests(keys))
    if (entries < 0).any():
        return np.arange(len(keys))  # reading them names what is missing
    found = [rows.positions for rows in index.by_shard(entries, np.arange(len(keys)))]
    return np.concatenate([np.empty(0, np.intp), *found])


def _runs(rows: np.ndarray, *, gap: int) -> list[tuple[int, int]]:
    """Ranges [begin, end) of `rows` in which each row is 1 to `gap` after the one before."""
    step = np.diff(rows)
    cuts = np.flatnonzero((step < 1) | (step > gap)) + 1
    return list(pairwise([0, *cuts.tolist(), len(rows)])) if len(rows) else []


def _write_all(descriptor: int, rows: np.ndarray, offset: int) -> None:
    view = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read_all(descriptor: int, rows: np.ndarray, offset: int) -> None:
    view = rows.reshape(-1).view(np.uint8).data
    while view:
        count = os.preadv(descriptor, [view], offset)
        if not count:
            raise OSError(f"the temporary file of states ends at byte {offset}")
        view, offset = view[count:], offset + count
