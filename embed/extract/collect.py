"""Results of batches → the store's writer: refuse damaged states, merge windows, write whole batches."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from layerprobe.cache.common.errors import ClipError, NotFiniteError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.remote.audio import place_of
from layerprobe.cache.store.feature_store import StoreWriter
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.pending import PendingClips
from layerprobe.embed.extract.pooling import WindowMerger, mergeable_stats
from layerprobe.embed.extract.results import BatchResult

Arrays = Mapping[str, np.ndarray]  # layer → its states


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
        """Write one batch; yields the clips that failed, by index and once each, after the others.

        None of their states reaches a shard.
        """
        arrays, peaks = result.wait()
        failed: dict[int, ClipError] = dict(result.failed)
        # A NaN is the largest value of its row, and for it the comparison is false.
        for row in np.flatnonzero(~(peaks <= self._largest).all(0)).tolist():
            clip = result.windows[row].clip
            if clip not in failed:
                failed[clip] = self._refusal(clip, tuple(arrays), peaks[:, row])
        new = {clip: error for clip, error in failed.items() if clip not in self._dropped}
        self._dropped.update(new)  # the writer discards frames it has when it begins the next clip
        rows = [row for row, window in enumerate(result.windows) if window.clip not in self._dropped]
        together = [] if self._keep_frames else [row for row in rows if result.windows[row].count == 1]
        self._add_batch(result, arrays, together)
        single = rows if self._keep_frames else [row for row in rows if result.windows[row].count > 1]
        for row in single:
            window, frames = result.windows[row], result.frames[row]
            states = {layer: values[row] for layer, values in arrays.items()}
            if self._keep_frames:
                self._append({layer: values[:frames] for layer, values in states.items()}, window, frames)
            else:
                self._merge(states, window, frames)
        yield from new.items()

    def _add_batch(self, result: BatchResult, arrays: Arrays, rows: Sequence[int]) -> None:
        """Write the clips of one window in these rows; arrays (B, S, D)."""
        if not rows:
            return
        selected = slice(None) if len(rows) == len(result.windows) else rows
        clips = [result.windows[row].clip for row in rows]
        seconds = self._pending.audio_seconds[clips].tolist()
        self._writer.add_batch(
            [self._pending.keys[clip] for clip in clips],
            self._stored({layer: values[selected] for layer, values in arrays.items()}),
            frames=[result.frames[row] for row in rows],
            seconds=seconds,
            paths=[self._path(clip) for clip in clips],
        )
        self.done.extend(clips)
        self.seconds += sum(seconds)

    def _append(self, states: Arrays, window: Window, frames: int) -> None:
        """Write a window's frames, (F, D) for each layer."""
        index = window.clip
        if window.number == 0:
            self._frames = 0
            self._writer.begin(self._pending.keys[index], path=self._path(index))
        self._frames += frames
        self._writer.append(states)
        if window.number + 1 == window.count:
            self._writer.end(frames=self._frames, seconds=self._seconds(index))
            self._count(index)

    def _merge(self, states: Arrays, window: Window, frames: int) -> None:
        """Add a window's statistics, (S, D) float32 for each layer, to those of its clip."""
        index = window.clip
        if window.number == 0:
            self._frames = 0
            self._mergers = {layer: WindowMerger(self._stats) for layer in states}
        self._frames += frames
        for layer, values in states.items():
            self._mergers[layer].add(values, frames=frames)
        if window.number + 1 < window.count:
            return
        self._writer.add(
            self._pending.keys[index],
            self._stored({layer: merger.result() for layer, merger in self._mergers.items()}),
            frames=self._frames,
            seconds=self._seconds(index),
            path=self._path(index),
        )
        self._count(index)

    def _count(self, index: int) -> None:
        self.done.append(index)
        self.seconds += self._seconds(index)

    def _seconds(self, index: int) -> float:
        return float(self._pending.audio_seconds[index])

    def _path(self, index: int) -> str:
        return place_of(self._pending.clips[index].file)

    def _stored(self, states: Arrays) -> dict[str, np.ndarray]:
        """The statistics (…, S, D) that are stored, in the type of the store."""
        count, dtype = len(self._extraction.stats), self._extraction.dtype
        return {layer: values[..., :count, :].astype(dtype, copy=False) for layer, values in states.items()}

    def _refusal(self, index: int, layers: Sequence[str], peaks: np.ndarray) -> NotFiniteError:
        """Why a clip is refused; peaks: of each layer, one of which is not within the storage type."""
        layer, peak = next(
            (layer, peak)
            for layer, peak in zip(layers, peaks.tolist(), strict=True)
            if not peak <= self._largest
        )
        if np.isfinite(peak):
            what = f"layer {layer} has states up to {peak:.4g}, too large for {self._extraction.dtype}"
            return NotFiniteError(what, where=self._path(index), do="embed with --dtype float32")
        return NotFiniteError(f"layer {layer} has states that are not finite", where=self._path(index))
