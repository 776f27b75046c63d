"""Results of batches → the store's writer: windows merged, numbers checked, one clip after the other."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import ClipError, NotFiniteError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.store.feature_store import StoreWriter
from layerprobe.embed.audio.sound import AudioInfo
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.forward import BatchResult
from layerprobe.embed.extract.pooling import Merger, merging_stats
from layerprobe.embed.manifest.clips import Clip


@dataclass
class _Open:
    """A clip of several windows that has not had all of them; merged per layer, or None with every frame."""

    merged: dict[str, Merger] | None
    frames: int = 0


class Collector:
    """Takes windows as batches give them and writes a clip as soon as its last window is there."""

    def __init__(
        self,
        writer: StoreWriter,
        extraction: Extraction,
        *,
        clips: Sequence[Clip],
        keys: Sequence[str],
        sounds: Sequence[AudioInfo],
    ) -> None:
        self._writer, self._extraction = writer, extraction
        self._clips, self._keys, self._sounds = clips, keys, sounds
        self._keep_frames = extraction.stats == (FRAME,)
        self._stats = merging_stats(extraction.stats)
        self._open: dict[int, _Open] = {}
        self._dropped: set[int] = set()
        self.done = array("q")
        self.seconds = 0.0

    def collect(self, given: BatchResult) -> Iterator[tuple[int, ClipError]]:
        """Take one batch in; yields the clips that failed, each once."""
        for index, error in given.failed.items():
            if index not in self._dropped:
                yield index, error
        arrays = given.wait()
        for i, (window, frames) in enumerate(zip(given.windows, given.frames, strict=True)):
            if window.clip in self._dropped:
                continue
            rows = {layer: array[i] for layer, array in arrays.items()}
            if self._keep_frames:
                rows = {layer: array[:frames] for layer, array in rows.items()}
            try:
                self._take(window, rows, frames)
            except NotFiniteError as error:
                yield window.clip, error

    def drop(self, index: int) -> None:
        """Forget a clip that failed; none of its states reaches a shard."""
        self._open.pop(index, None)  # frames already handed over go when the writer begins its next clip
        self._dropped.add(index)

    def _take(self, window: Window, rows: dict[str, np.ndarray], frames: int) -> None:
        self._check(window.clip, rows)
        index = window.clip
        if window.count == 1 and not self._keep_frames:
            self._finish(index, rows, frames)
            return
        if index not in self._open:
            self._begin(index)
        state = self._open[index]
        state.frames += frames
        if state.merged is None:
            self._writer.append(self._stored(rows))
        else:
            for layer, values in rows.items():
                state.merged[layer].add(values, frames=frames)
        if window.number + 1 < window.count:
            return
        del self._open[index]
        if state.merged is None:
            self._writer.end(frames=state.frames, seconds=self._sounds[index].seconds)
            self._count(index)
        else:
            self._finish(index, {k: m.result() for k, m in state.merged.items()}, state.frames)

    def _begin(self, index: int) -> None:
        if self._keep_frames:
            self._writer.begin(self._keys[index], path=str(self._clips[index].path))
            self._open[index] = _Open(merged=None)
        else:
            layers = self._extraction.layers
            self._open[index] = _Open(merged={layer: Merger(self._stats) for layer in layers})

    def _finish(self, index: int, rows: dict[str, np.ndarray], frames: int) -> None:
        asked = len(self._extraction.stats)
        self._writer.add(
            self._keys[index],
            self._stored({layer: values[:asked] for layer, values in rows.items()}),
            frames=frames,
            seconds=self._sounds[index].seconds,
            path=str(self._clips[index].path),
        )
        self._count(index)

    def _count(self, index: int) -> None:
        self.done.append(index)
        self.seconds += self._sounds[index].seconds

    def _stored(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {layer: values.astype(self._extraction.dtype) for layer, values in rows.items()}

    def _check(self, index: int, rows: dict[str, np.ndarray]) -> None:
        """Raises NotFiniteError where a state is not a number or too large for the storage type."""
        where = str(self._clips[index].path)
        largest = float(np.finfo(self._extraction.dtype).max)
        for layer, values in rows.items():
            # One pass: a NaN makes the maximum NaN, which is not within any bound.
            peak = float(np.abs(values).max())
            if peak <= largest:
                continue
            if np.isfinite(peak):
                what = f"layer {layer} has states up to {peak:.4g}, too large for {self._extraction.dtype}"
                raise NotFiniteError(what, where=where, do="embed with --dtype float32")
            raise NotFiniteError(f"layer {layer} has states that are not finite", where=where)
