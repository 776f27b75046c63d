"""Results of batches → the store's writer: merge windows, check values, write one clip at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from layerprobe.cache.common.errors import ClipError, NotFiniteError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.feature_store import StoreWriter
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.forward import BatchResult
from layerprobe.embed.extract.pending import PendingClips
from layerprobe.embed.extract.pooling import WindowMerger, mergeable_stats


class Collector:
    """Collects windows from batches and writes a clip as soon as its last window has arrived.

    The windows of a clip must arrive in order with none of another clip between them, as they are planned.
    done: indices of the clips that were written. seconds: their total length.
    """

    def __init__(self, writer: StoreWriter, extraction: Extraction, pending: PendingClips) -> None:
        self._writer, self._extraction, self._pending = writer, extraction, pending
        self._keep_frames = extraction.stats == (FRAME,)
        self._stats = mergeable_stats(extraction.stats)
        self._largest = float(np.finfo(extraction.dtype).max)
        self._mergers: dict[str, WindowMerger] = {}  # by layer, of the clip of several windows in progress
        self._frames = 0  # of the clip in progress
        self._dropped: set[int] = set()
        self.done = array("q")
        self.seconds = 0.0

    def collect(self, result: BatchResult) -> Iterator[tuple[int, ClipError]]:
        """Add one batch; yields the clips that failed, by index and once each. The caller drops these."""
        for index, error in result.failed.items():
            if index not in self._dropped:
                yield index, error
        arrays = result.wait()
        for i, (window, frames) in enumerate(zip(result.windows, result.frames, strict=True)):
            if window.clip in self._dropped:
                continue
            rows = {layer: array[i] for layer, array in arrays.items()}
            if self._keep_frames:
                rows = {layer: array[:frames] for layer, array in rows.items()}
            try:
                self._check(window.clip, rows)
            except NotFiniteError as error:
                yield window.clip, error
            else:
                self._add(window, rows, frames)

    def drop(self, index: int) -> None:
        """Discard a clip that failed; none of its states reaches a shard."""
        self._dropped.add(index)  # the writer discards frames it has when it begins the next clip

    def _add(self, window: Window, rows: dict[str, np.ndarray], frames: int) -> None:
        """rows: by layer (S, D), or where every frame is kept (F, D)."""
        index, is_last = window.clip, window.number + 1 == window.count
        if window.number == 0:
            self._frames = 0
        self._frames += frames
        if self._keep_frames:
            if window.number == 0:
                self._writer.begin(self._pending.keys[index], path=str(self._pending.clips[index].path))
            self._writer.append(self._stored(rows))
            if is_last:
                self._writer.end(frames=self._frames, seconds=self._pending.audio[index].seconds)
                self._count(index)
            return
        if window.count > 1:
            if window.number == 0:
                self._mergers = {layer: WindowMerger(self._stats) for layer in rows}
            for layer, values in rows.items():
                self._mergers[layer].add(values, frames=frames)
            if not is_last:
                return
            rows = {layer: merger.result() for layer, merger in self._mergers.items()}
        stored = len(self._extraction.stats)
        self._writer.add(
            self._pending.keys[index],
            self._stored({layer: values[:stored] for layer, values in rows.items()}),
            frames=self._frames,
            seconds=self._pending.audio[index].seconds,
            path=str(self._pending.clips[index].path),
        )
        self._count(index)

    def _count(self, index: int) -> None:
        self.done.append(index)
        self.seconds += self._pending.audio[index].seconds

    def _stored(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {layer: values.astype(self._extraction.dtype) for layer, values in rows.items()}

    def _check(self, index: int, rows: dict[str, np.ndarray]) -> None:
        """Raise NotFiniteError if a state is not finite or too large for the storage type."""
        for layer, values in rows.items():
            # One pass: a NaN makes the maximum NaN, for which the comparison is false.
            peak = float(np.abs(values).max())
            if peak <= self._largest:
                continue
            where = str(self._pending.clips[index].path)
            if np.isfinite(peak):
                what = f"layer {layer} has states up to {peak:.4g}, too large for {self._extraction.dtype}"
                raise NotFiniteError(what, where=where, do="embed with --dtype float32")
            raise NotFiniteError(f"layer {layer} has states that are not finite", where=where)
