"""Clips into a store: checked here, written to shards by a thread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from layerprobe.cache.common.disk import abandoned_files, locked
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.background_writer import BackgroundWriter, PendingClip, write_error
from layerprobe.cache.store.packed_arrays import ArrayPacker

SHARD_BYTES = 32 << 20  # one shard being filled and one being written: 64 MiB in flight at most
SHARD_CLIPS = 1_000  # of few numbers each: what is known of a clip that waits then takes more than its states
SHARD_SECONDS = 60.0
WRITERS_LOCK = ".writers.lock"  # shared by all that write the store
KEY = re.compile(r"[0-9a-f]{64}")


class StoreWriter:
    """Writes one store; any number of them may write it at once, in any number of processes.

    A context manager. Leaving it, by an exception too, finishes the shard in hand; a clip that was begun and
    not ended is dropped. A failure to write surfaces as StoreError in the next call or on leaving; every
    shard finished before it stays.
    """

    def __init__(self, folder: Path, extraction: Extraction) -> None:
        self._folder = folder
        self._pooled = extraction.stats != (FRAME,)
        self._dtype = np.dtype(extraction.dtype)
        self._shapes = {
            layer: (len(extraction.stats), width)
            for layer, width in zip(extraction.layers, extraction.widths, strict=True)
        }
        self._presence = ExitStack()
        self._background = BackgroundWriter(
            folder,
            extraction,
            shard_bytes=SHARD_BYTES,
            shard_clips=SHARD_CLIPS,
            shard_seconds=SHARD_SECONDS,
        )
        self._packer = ArrayPacker()
        self._open: PendingClip | None = None

    def __enter__(self) -> StoreWriter:
        try:
            # Held while we write, so that nobody removes the store under us.
            self._presence.enter_context(locked(self._folder / WRITERS_LOCK, shared=True))
            abandoned_files(self._folder, remove=True)
            self._background.start()
        except OSError as error:
            raise write_error(self._folder, error) from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._drop()
        failure = self._background.close()
        self._presence.close()
        if failure is not None and failure is not error:
            raise failure

    def add(
        self, key: str, states: Mapping[str, np.ndarray], *, frames: int, seconds: float, path: str = ""
    ) -> None:
        """A whole clip: layer → (S, D), or (F, D) where every frame is kept; all layers, in the storage type.

        `frames` is how many frames the clip has, `path` where it was first seen. The states are copied. Waits
        while 64 MiB are in flight. Raises StoreError.
        """
        self.begin(key, path=path)
        self.append(states)
        self.end(frames=frames, seconds=seconds)

    def in_one_shard(self) -> AbstractContextManager[None]:
        """Clips that are added within come into one shard, so that none of them is kept without the others.

        Unless they are too many to wait for one another: past 64 MiB they go as they come.
        """
        return self._background.in_one_shard()

    def begin(self, key: str, *, path: str = "") -> None:
        """Begin a clip that comes in parts; one that was begun before and never ended is dropped."""
        if not KEY.fullmatch(key):
            raise StoreError(f"{key!r} is no clip's key (64 hex digits)", where=str(self._folder))
        self._background.check()
        self._drop()
        self._open = PendingClip(key, path)

    def append(self, states: Mapping[str, np.ndarray]) -> None:
        """The next part of the clip in hand, as in `add`. Raises StoreError."""
        clip = self._in_hand()
        if states.keys() != self._shapes.keys():
            odd = ", ".join(sorted(states.keys() ^ self._shapes.keys()))
            raise StoreError(f"layers that are not those of the store: {odd}", where=str(self._folder))
        blocks = [self._block(layer, states[layer]) for layer in self._shapes]
        lengths = {len(block) for block in blocks}
        if len(lengths) != 1:
            raise StoreError(f"layers of unequal length: {sorted(lengths)}", where=str(self._folder))
        self._background.add(clip, self._packer.pack(blocks))

    def end(self, *, frames: int, seconds: float) -> None:
        """The clip in hand is complete. Raises StoreError."""
        clip = self._in_hand()
        expected = 1 if self._pooled else frames
        if clip.rows != expected:
            raise StoreError(f"{clip.rows} rows for {expected} expected", where=f"clip {clip.key}")
        self._background.end(clip, frames=frames, seconds=seconds)
        self._open = None

    def _in_hand(self) -> PendingClip:
        self._background.check()
        if self._open is None:
            raise StoreError("no clip was begun", where=str(self._folder))
        return self._open

    def _drop(self) -> None:
        clip, self._open = self._open, None
        if clip is not None and not clip.over:
            self._background.drop(clip)

    def _block(self, layer: str, states: np.ndarray) -> np.ndarray:
        """As (R, S, D); StoreError where shape or type are not the store's."""
        rows = states[None] if self._pooled else states[:, None]
        if rows.shape[1:] != self._shapes[layer] or rows.dtype != self._dtype:
            told = f"{states.dtype} {states.shape}"
            stats, width = self._shapes[layer]
            need = f"{self._dtype} {(stats, width) if self._pooled else ('F', width)}"
            raise StoreError(f"layer {layer} is {told}, not {need}", where=str(self._folder))
        return rows
