"""Results of batches → the store's writer: merge windows, check values, write one clip at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import ClipError, NotFiniteError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.feature_store import StoreWriter
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.forward import BatchResult
from layerprobe.embed.extract.pending import PendingClips
from layerprobe.embed.extract.pooling import WindowMerger, mergeable_stats


@dataclass
class _OpenClip:
    """A clip of which windows are outstanding. mergers: by layer; None where every frame is kept."""

    mergers: dict[str, WindowMerger] | None
    frames: int = 0


class Collector:
    """Collects windows from batches and writes a clip as soon as its last window has arrived.

    done: indices of the clips that were written. seconds: their total length.
    """

    def __init__(self, writer: StoreWriter, extraction: Extraction, pending: PendingClips) -> None:
        self._writer, self._extraction, self._pending = writer, extraction, pending
        self._keep_frames = extraction.stats == (FRAME,)
        self._stats = mergeable_stats(extraction.stats)
        self._open: dict[int, _OpenClip] = {}
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
                self._add(window, rows, frames)
            except NotFiniteError as error:
                yield window.clip, error

    def drop(self, index: int) -> None:
        """Discard a clip that failed; none of its states reaches a shard."""
        self._open.pop(index, None)  # the writer discards frames it has when it begins the next clip
        self._dropped.add(index)

    def _add(self, window: Window, rows: dict[str, np.ndarray], frames: int) -> None:
        """rows: by layer (S, D) of a window, or where every frame is kept (F, D)."""
        self._check(window.clip, rows)
        index = window.clip
        if window.count == 1 and not self._keep_frames:
            self._write(index, rows, frames)
            return
        if index not in self._open:
            self._open_clip(index)
        clip = self._open[index]
        clip.frames += frames
        if clip.mergers is None:
            self._writer.append(self._stored(rows))
        else:
            for layer, values in rows.items():
                clip.mergers[layer].add(values, frames=frames)
        if window.number + 1 < window.count:
            return
        del self._open[index]
        if clip.mergers is None:
            self._writer.end(frames=clip.frames, seconds=self._pending.audio[index].seconds)
            self._count(index)
        else:
            merged = {layer: merger.result() for layer, merger in clip.mergers.items()}
            self._write(index, merged, clip.frames)

    def _open_clip(self, index: int) -> None:
        if self._keep_frames:
            self._writer.begin(self._pending.keys[index], path=str(self._pending.clips[index].path))
            self._open[index] = _OpenClip(mergers=None)
        else:
            mergers = {layer: WindowMerger(self._stats) for layer in self._extraction.layers}
            self._open[index] = _OpenClip(mergers=mergers)

    def _write(self, index: int, rows: dict[str, np.ndarray], frames: int) -> None:
        stored = len(self._extraction.stats)
        self._writer.add(
            self._pending.keys[index],
            self._stored({layer: values[:stored] for layer, values in rows.items()}),
            frames=frames,
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
        largest = float(np.finfo(self._extraction.dtype).max)
        for layer, values in rows.items():
            # One pass: a NaN makes the maximum NaN, for which the comparison is false.
            peak = float(np.abs(values).max())
            if peak <= largest:
                continue
            where = str(self._pending.clips[index].path)
            if np.isfinite(peak):
                what = f"layer {layer} has states up to {peak:.4g}, too large for {self._extraction.dtype}"
                raise NotFiniteError(what, where=where, do="embed with --dtype float32")
            raise NotFiniteError(f"layer {layer} has states that are not finite", where=where)
