"""Decode batches ahead: a few threads read and pad the next windows while the model is busy."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.identity.hashing import FileStamp
from layerprobe.embed.audio import pcm, sound
from layerprobe.embed.audio.pool import DecoderPool
from layerprobe.embed.extract.batching import Window, cut_evenly, padded_length
from layerprobe.embed.extract.pending import PendingClips
from layerprobe.embed.manifest.clips import Clip

DECODERS = {"cpu": 2, "cuda": 16}  # threads at most; on a CPU the model needs the cores


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Decoded windows: waves (B, T) float32, zero beyond lengths (B,) in samples.

    failed: the clips that could not be read, by index.
    """

    windows: list[Window]
    waves: torch.Tensor
    lengths: torch.Tensor
    failed: dict[int, ClipError]

    def halves(self) -> tuple[Batch, Batch]:
        """Split in two a batch that did not fit in the device's memory; `failed` is dropped."""
        middle = len(self.windows) // 2
        return self._slice(slice(None, middle)), self._slice(slice(middle, None))

    def select(self, rows: Sequence[int]) -> Batch:
        """The windows in these rows; `failed` is dropped."""
        lengths = self.lengths[list(rows)]
        width = padded_length(int(lengths.max())) if rows else 0
        windows = [self.windows[row] for row in rows]
        return Batch(windows=windows, waves=self.waves[list(rows), :width], lengths=lengths, failed={})

    def _slice(self, rows: slice) -> Batch:
        lengths = self.lengths[rows]
        waves = self.waves[rows, : padded_length(int(lengths.max()))]
        return Batch(windows=self.windows[rows], waves=waves, lengths=lengths, failed={})


class _LongClip:
    """A clip of several windows, decoded once from start to end by whichever threads load its windows.

    Batches are loaded in the plan's order, so a thread that waits here waits for a window being read.
    """

    def __init__(self, clip: Clip, info: sound.AudioInfo, *, first: Window) -> None:
        """first: the first of the clip's windows to be loaded; the others follow in order."""
        self._clip, self._info, self._count = clip, info, first.count
        windows = cut_evenly(first.clip, info.samples, first.count)[first.number :]
        self._spans = [(window.begin, window.stop) for window in windows]
        self._state = threading.Condition()
        self._number = first.number  # of the window to be read next
        self._waves: Iterator[np.ndarray] | None = None
        self._moments: sound.Moments | None = None
        self._error: Exception | None = None

    def window(self, number: int) -> tuple[np.ndarray, sound.Moments]:
        """A window's samples (T,) and the moments of the entire clip. Raises ClipError."""
        with self._state:
            self._state.wait_for(lambda: self._error is not None or self._number == number)
            if self._error is not None:
                raise self._error
            try:
                return self._next()
            except Exception as error:  # fails the later windows too
                self._error = error
                raise
            finally:
                self._number += 1
                self._state.notify_all()

    def close(self) -> None:
        """Wake the threads that wait for a window: the rest will not be read."""
        with self._state:
            self._error = self._error or ClipError("was not read to its end", where=str(self._clip.path))
            self._waves = None  # closes the file
            self._state.notify_all()

    def _next(self) -> tuple[np.ndarray, sound.Moments]:
        if self._moments is None or self._waves is None:
            # Read it through first: a fault near the end must not leave the first windows in a shard.
            self._moments = sound.measure_moments(self._clip, self._info)
            self._moments.check(self._clip)
            self._waves = sound.read_windows(self._clip, self._info, self._spans)
        wave = next(self._waves)
        if self._number + 1 == self._count:
            self._waves = iter(())  # closes the file
        return wave, self._moments


class Prefetcher:
    """Iterates over the batches of a plan in order, decoding a few of them ahead.

    Every clip passes `sound.check_samples` before any of its windows is returned. A clip whose file was
    changed by the time all of it is read fails with its last window: what was read is not what its key names.
    """

    def __init__(
        self,
        plan: Sequence[Sequence[Window]],
        pending: PendingClips,
        *,
        normalise: bool,
        device: torch.device,
    ) -> None:
        self._plan, self._pending, self._normalise = plan, pending, normalise
        self._pin = device.type == "cuda"
        self._workers = DECODERS.get(device.type, DECODERS["cpu"])
        self._long: dict[int, _LongClip] = {}

    def __iter__(self) -> Iterator[Batch]:
        futures: deque[Future[Batch]] = deque()
        with DecoderPool(self._workers) as pool:
            try:
                for windows in self._plan:
                    self._open_long_clips(windows)
                    futures.append(pool.submit(self._load, windows))
                    if len(futures) > 2 * pool.count:
                        yield pool.result(futures.popleft())
                while futures:
                    yield pool.result(futures.popleft())
            finally:
                for future in futures:
                    future.cancel()
                for clip in self._long.values():
                    clip.close()

    def _open_long_clips(self, windows: Sequence[Window]) -> None:
        for window in windows:
            if window.count > 1 and window.clip not in self._long:
                clip, info = self._pending.clips[window.clip], self._pending.audio[window.clip]
                self._long[window.clip] = _LongClip(clip, info, first=window)

    def _load(self, windows: Sequence[Window]) -> Batch:
        loaded: list[Window] = []
        waves: list[np.ndarray | pcm.Samples] = []
        failed: dict[int, ClipError] = {}
        for window in windows:
            if window.clip in failed:
                continue
            try:
                waves.append(self._read(window))
                loaded.append(window)
            except ClipError as error:
                failed[window.clip] = error
        counts = [window.samples for window in loaded]
        longest = max(counts, default=0)
        padded = torch.empty(len(waves), padded_length(longest), pin_memory=self._pin and bool(waves))
        for row, wave, count in zip(padded.numpy(), waves, counts, strict=True):
            if isinstance(wave, pcm.Samples):
                wave.fill(row[:count], normalise=self._normalise)
            else:
                row[:count] = wave
            row[count:] = 0
        lengths = torch.tensor(counts, dtype=torch.int64)
        return Batch(windows=loaded, waves=padded, lengths=lengths, failed=failed)

    def _read(self, window: Window) -> np.ndarray | pcm.Samples:
        """The window's samples (T,), normalised over its entire clip or yet to be. Raises ClipError."""
        clip, info = self._pending.clips[window.clip], self._pending.audio[window.clip]
        seen: FileStamp | None = None
        wave: np.ndarray | pcm.Samples
        if window.count > 1:
            samples, moments = self._long[window.clip].window(window.number)
            wave = self._normalised(samples, moments.mean, moments.variance)
        elif (plain := sound.read_plain(clip, info)) is not None:
            wave, seen = plain, plain.stamp
        else:
            samples = sound.read_clip(clip, info)
            sound.check_samples(samples, clip)
            mean, variance = samples.mean(dtype=np.float64), samples.var(dtype=np.float64)
            wave = self._normalised(samples, float(mean), float(variance))
        if window.number + 1 == window.count and not self._pending.unchanged(window.clip, seen=seen):
            raise ClipError("was changed during the run", where=str(clip.path), do="embed it again")
        return wave

    def _normalised(self, wave: np.ndarray, mean: float, variance: float) -> np.ndarray:
        return sound.normalise(wave, mean, variance) if self._normalise else wave
