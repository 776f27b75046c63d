"""Decoding ahead: batches of windows → padded waves, read by a few threads while the model is busy."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.extract.batching import Window, padded_length
from layerprobe.embed.manifest.clips import Clip


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Waves (B, T) float32, zero beyond lengths (B,); `failed` are the clips that could not be read."""

    windows: list[Window]
    waves: torch.Tensor
    lengths: torch.Tensor
    failed: dict[int, ClipError]

    @property
    def samples(self) -> int:
        """Padded size."""
        return self.waves.numel()

    def halves(self) -> tuple[Batch, Batch]:
        """The batch in two, for a device on which it did not fit."""
        middle = len(self.windows) // 2
        parts = []
        for part in (slice(None, middle), slice(middle, None)):
            lengths = self.lengths[part]
            waves = self.waves[part, : padded_length(int(lengths.max()))]
            parts.append(Batch(windows=self.windows[part], waves=waves, lengths=lengths, failed={}))
        return parts[0], parts[1]


class _LongClip:
    """A clip of several windows, decoded once from front to back, whichever threads ask for its windows.

    Batches are loaded in the plan's order, so whoever waits here waits for a window that is being read.
    """

    def __init__(self, clip: Clip, sound: audio.AudioInfo, windows: Sequence[Window]) -> None:
        self._clip, self._sound = clip, sound
        self._spans = [(window.begin, window.stop) for window in windows]
        self._turn = {window.number: place for place, window in enumerate(windows)}
        self._state = threading.Condition()
        self._read = 0
        self._waves: Iterator[np.ndarray] | None = None
        self._moments: audio.Moments | None = None
        self._error: Exception | None = None

    def window(self, number: int) -> tuple[np.ndarray, audio.Moments]:
        """A window's samples and the whole clip's moments. Raises ClipError."""
        with self._state:
            self._state.wait_for(lambda: self._error is not None or self._read == self._turn[number])
            if self._error is not None:
                raise self._error
            try:
                return self._next()
            except Exception as error:  # whoever waits for a later window must hear of it
                self._error = error
                raise
            finally:
                self._read += 1
                self._state.notify_all()

    def close(self) -> None:
        """Nobody will ask for the rest: wake whoever waits for it."""
        with self._state:
            self._error = self._error or ClipError("was not read to its end", where=str(self._clip.path))
            self._state.notify_all()

    def _next(self) -> tuple[np.ndarray, audio.Moments]:
        if self._moments is None or self._waves is None:
            # A fault near the end must not leave the first windows in a shard: read it through first.
            self._moments = audio.measure_moments(self._clip, self._sound)
            self._moments.check(self._clip)
            self._waves = audio.read_windows(self._clip, self._sound, self._spans)
        wave = next(self._waves)
        if self._read + 1 == len(self._spans):
            self._waves = iter(())  # closes the file
        return wave, self._moments


class Prefetcher:
    """Iterates over a plan's batches in order, a few of them decoded ahead.

    Every clip passes `audio.check` before any of its windows is given. One of whose file `unchanged` says no,
    when all of it was read, fails with its last window: what was read is not what its key names.
    """

    def __init__(
        self,
        plan: Sequence[Sequence[Window]],
        *,
        clips: Sequence[Clip],
        sounds: Sequence[audio.AudioInfo],
        unchanged: Callable[[int], bool],
        normalise: bool,
        pin: bool,
        workers: int,
    ) -> None:
        self._plan, self._clips, self._sounds = plan, clips, sounds
        self._unchanged, self._normalise, self._pin, self._workers = unchanged, normalise, pin, workers
        long: dict[int, list[Window]] = {}
        for window in (window for batch in plan for window in batch if window.count > 1):
            long.setdefault(window.clip, []).append(window)
        self._long = {clip: _LongClip(clips[clip], sounds[clip], windows) for clip, windows in long.items()}

    def __iter__(self) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        with audio.decoder_pool(self._workers) as pool:
            try:
                for windows in self._plan:
                    waiting.append(pool.submit(self._load, windows))
                    if len(waiting) > 2 * self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
                for clip in self._long.values():
                    clip.close()

    def _load(self, windows: Sequence[Window]) -> Batch:
        kept: list[Window] = []
        waves: list[np.ndarray] = []
        failed: dict[int, ClipError] = {}
        for window in windows:
            if window.clip in failed:
                continue
            try:
                waves.append(self._read(window))
                kept.append(window)
            except ClipError as error:
                failed[window.clip] = error
        longest = max((len(wave) for wave in waves), default=0)
        padded = torch.zeros(len(waves), padded_length(longest), pin_memory=self._pin and bool(waves))
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = torch.from_numpy(wave)
        lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
        return Batch(windows=kept, waves=padded, lengths=lengths, failed=failed)

    def _read(self, window: Window) -> np.ndarray:
        """The window's samples (T,), normalised over its whole clip. Raises ClipError."""
        clip = self._clips[window.clip]
        if window.count > 1:
            wave, moments = self._long[window.clip].window(window.number)
            mean, variance = moments.mean, moments.variance
        else:
            wave = audio.read_clip(clip, self._sounds[window.clip])
            audio.check_samples(wave, clip)
            mean, variance = float(wave.mean(dtype=np.float64)), float(wave.var(dtype=np.float64))
        if window.number + 1 == window.count and not self._unchanged(window.clip):
            raise ClipError("was changed during the run", where=str(clip.path), do="embed it again")
        return audio.normalise(wave, mean, variance) if self._normalise else wave
