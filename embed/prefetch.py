"""Decoding ahead: batches of windows → padded waves, read by a few threads while the model is busy."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from cache.errors import ClipError
from embed import audio
from embed.batching import Window, padded_length
from embed.manifest import Clip


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


class Prefetcher:
    """Iterates over a plan's batches in order, a few of them decoded ahead.

    Every clip passes `audio.check` first: a fault found in a clip's later part must not leave its first
    windows in a shard, so a clip of several windows is read through once before any of them is given.
    """

    def __init__(
        self,
        plan: Sequence[Sequence[Window]],
        *,
        clips: Sequence[Clip],
        sounds: Sequence[audio.Sound],
        normalise: bool,
        pin: bool,
        workers: int,
    ) -> None:
        self._plan, self._clips, self._sounds = plan, clips, sounds
        self._normalise, self._pin, self._workers = normalise, pin, workers
        self._moments: dict[int, audio.Moments | ClipError] = {}
        self._measuring = threading.Lock()

    def __iter__(self) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        plan = iter(self._plan)
        with audio.decoders(self._workers) as pool:
            try:
                for windows in plan:
                    waiting.append(pool.submit(self._load, windows))
                    if len(waiting) > 2 * self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

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
        clip, sound = self._clips[window.clip], self._sounds[window.clip]
        if window.count == 1:
            wave = audio.read(clip, sound)
            audio.check(wave, clip)
            if not self._normalise:
                return wave
            mean, variance = wave.mean(dtype=np.float64), wave.var(dtype=np.float64)
            return audio.normalise(wave, float(mean), float(variance))
        moments = self._measure(window.clip, clip, sound)
        wave = audio.read(clip, sound, begin=window.begin, stop=window.stop)
        return audio.normalise(wave, moments.mean, moments.variance) if self._normalise else wave

    def _measure(self, index: int, clip: Clip, sound: audio.Sound) -> audio.Moments:
        """Mean and variance of a long clip, read once however many of its windows ask."""
        with self._measuring:
            if index not in self._moments:
                try:
                    found = audio.moments(clip, sound)
                    found.check(clip)
                    self._moments[index] = found
                except ClipError as error:
                    self._moments[index] = error
            known = self._moments[index]
        if isinstance(known, ClipError):
            raise known
        return known
