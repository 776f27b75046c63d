"""Adding clips to a store: checked here, written by a background thread with `shard.ShardWriter`."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

import numpy as np

from layerprobe.cache.common.disk import abandoned_files, locked
from layerprobe.cache.common.errors import InputError, StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.background_writer import BackgroundWriter, write_error
from layerprobe.cache.store.index import Shards
from layerprobe.cache.store.packed_arrays import ArrayPacker, PendingBatch, PendingClip, RowLayout
from layerprobe.cache.store.shard import ClipEntry

SHARD_BYTES = 32 << 20  # one shard being filled, one being written and one on its way to the disk: 96 MiB
SHARD_CLIPS = 1_000  # for clips with few numbers, whose metadata would need more memory than their states
SHARD_SECONDS = 60.0
WRITERS_LOCK = ".writers.lock"  # shared by all writers of the store
KEY = re.compile(r"[0-9a-f]{64}")


class StoreWriter:
    """Adds clips to one store; any number of writers in any number of processes may do so at once.

    A context manager. Leaving it, also by an exception, writes the pending clips; a clip without `end` is
    dropped. A failed write raises StoreError in the next call or on leaving; finished shards stay.
    """

    def __init__(self, shards: Shards, extraction: Extraction) -> None:
        self._shards, self._folder = shards, shards.written
        self._pooled = extraction.stats != (FRAME,)
        self._dtype = np.dtype(extraction.dtype)
        stats = len(extraction.stats)
        self._shapes = {
            layer: (stats, width) for layer, width in zip(extraction.layers, extraction.widths, strict=True)
        }
        self._lock = ExitStack()
        self._layout = RowLayout(tuple(self._shapes.values()), self._dtype)
        self._background = BackgroundWriter(
            shards,
            extraction,
            self._layout,
            shard_bytes=SHARD_BYTES,
            shard_clips=SHARD_CLIPS,
            shard_seconds=SHARD_SECONDS,
        )
        self._packer = ArrayPacker(self._layout)
        self._open: PendingClip | None = None

    def __enter__(self) -> StoreWriter:
        try:
            # Held while this writer is open, so that no other process removes the store.
            self._lock.enter_context(locked(self._folder / WRITERS_LOCK, shared=True))
            abandoned_files(self._folder, remove=True)
            if not os.access(self._folder, os.W_OK):  # found now, not when the first shard is complete
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._background.start()
        except OSError as error:
            self._lock.close()
            raise write_error(self._folder, error) from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._drop()
        failure = self._background.close()
        try:
            if failure is None:
                self._shards.complete()
        except InputError as incomplete:
            failure = incomplete
        finally:
            self._lock.close()
        if failure is not None and failure is not error:
            raise failure

    def add(
        self, key: str, states: Mapping[str, np.ndarray], *, frames: int, seconds: float, path: str = ""
    ) -> None:
        """Add a complete clip.

        states: every layer → (S, D), or (F, D) where frames are stored, in the storage type; copied.
        frames: number of frames of the clip. path: where it was first seen.
        Waits while 64 MiB are in memory. Raises StoreError.
        """
        self.begin(key, path=path)
        self.append(states)
        self.end(frames=frames, seconds=seconds)

    def add_batch(
        self,
        keys: Sequence[str],
        states: Mapping[str, np.ndarray],
        *,
        frames: Sequence[int],
        seconds: Sequence[float],
        paths: Sequence[str],
    ) -> None:
        """Add complete clips whose statistics are stored: as `add` for each, at the price of one.

        states: every layer → (B, S, D), one row for each of the keys, in the storage type; copied. frames,
        seconds, paths: of each clip. Waits while 64 MiB are in memory. Raises StoreError.
        """
        self._background.check()
        self._drop()
        for key in keys:
            self._check_key(key)
        arrays = self._arrays(states)
        if not self._pooled:
            raise StoreError("keeps every frame", where=str(self._folder), do="add one clip at a time")
        if len(arrays[0]) != len(keys):
            raise StoreError(f"{len(arrays[0])} rows for {len(keys)} clips", where=str(self._folder))
        columns = zip(keys, frames, seconds, paths, strict=True)
        entries = [ClipEntry(key, 1, count, length, path) for key, count, length, path in columns]
        step = max(1, SHARD_BYTES // self._layout.row_bytes)
        for begin in range(0, len(entries), step):
            rows = slice(begin, begin + step)
            block = self._packer.pack([array[rows] for array in arrays])
            self._background.add_batch(PendingBatch(entries[rows], block))

    def in_one_shard(self) -> AbstractContextManager[None]:
        """Write the clips added in this context to one shard: a kill leaves all of them or none.

        Clips beyond 64 MiB are written as they come.
        """
        return self._background.in_one_shard()

    def begin(self, key: str, *, path: str = "") -> None:
        """Begin a clip that is added block by block; a clip begun before without `end` is dropped."""
        self._check_key(key)
        self._background.check()
        self._drop()
        self._open = PendingClip(key, path)

    def append(self, states: Mapping[str, np.ndarray]) -> None:
        """Add the next block of the current clip; arrays as in `add`. Raises StoreError."""
        clip = self._current()
        rows = {layer: array[None] if self._pooled else array[:, None] for layer, array in states.items()}
        self._background.add(clip, self._packer.pack(self._arrays(rows)))

    def end(self, *, frames: int, seconds: float) -> None:
        """Complete the current clip. Raises StoreError."""
        clip = self._current()
        expected = 1 if self._pooled else frames
        if clip.rows != expected:
            raise StoreError(f"{clip.rows} rows for {expected} expected", where=f"clip {clip.key}")
        self._background.end(clip, frames=frames, seconds=seconds)
        self._open = None

    def _current(self) -> PendingClip:
        self._background.check()
        if self._open is None:
            raise StoreError("no clip was begun", where=str(self._folder))
        return self._open

    def _drop(self) -> None:
        clip, self._open = self._open, None
        if clip is not None and not clip.ended:
            self._background.drop(clip)

    def _check_key(self, key: str) -> None:
        if not KEY.fullmatch(key):
            raise StoreError(f"{key!r} is no clip's key (64 hex digits)", where=str(self._folder))

    def _arrays(self, states: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Every layer's states (R, S, D), in the store's order.

        Raises StoreError for other layers, shapes or types than the store's.
        """
        if states.keys() != self._shapes.keys():
            odd = ", ".join(sorted(states.keys() ^ self._shapes.keys()))
            raise StoreError(f"layers that are not those of the store: {odd}", where=str(self._folder))
        for layer, shape in self._shapes.items():
            rows = states[layer]
            if rows.shape[1:] == shape and rows.dtype == self._dtype:
                continue
            what = f"layer {layer} has rows of {rows.dtype} {rows.shape[1:]}, not {self._dtype} {shape}"
            raise StoreError(what, where=str(self._folder))
        lengths = {len(states[layer]) for layer in self._shapes}
        if len(lengths) != 1:
            raise StoreError(f"layers of unequal length: {sorted(lengths)}", where=str(self._folder))
        return [states[layer] for layer in self._shapes]
