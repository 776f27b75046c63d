"""Several channels as one, and by how much they cancel."""

from __future__ import annotations

import math

import numpy as np

_ROUNDING = 1e-12  # of a constant channel's variance, relative to its power
_MAX_LOSS = 100.0  # decibels, for channels that cancel to nothing


class Downmix:
    """The mean of channels, with the powers needed to know what averaging costs; or one of them."""

    def __init__(self, channels: int, channel: int | None) -> None:
        """channel: the one to take, from 0; None for the mean."""
        self._channel = 0 if channels == 1 else channel
        self._channels = channels
        self._count = 0
        # Sums of the samples of each channel, and last of their mean; of squares, of all channels together
        # and of the mean.
        self._sums, self._squares = np.zeros(channels + 1), np.zeros(2)
        self._ones = np.ones(0)

    def mix(self, samples: np.ndarray, out: np.ndarray, *, measure: bool) -> None:
        """Write (T, C) float32 into out (T,); measure: include them in `loss`.

        Several times as fast where T is small enough for the processor's cache.
        """
        if self._channel is not None:
            out[:] = samples[:, self._channel]
            return
        # Both are several times as fast as a mean over so short an axis.
        if self._channels == 2:
            np.add(samples[:, 0], samples[:, 1], out=out)
        else:
            np.einsum("tc->t", samples, out=out)
        out /= np.float32(self._channels)
        if measure:
            self._measure(samples, out)

    def _measure(self, samples: np.ndarray, mean: np.ndarray) -> None:
        if len(samples) > len(self._ones):
            self._ones = np.ones(len(samples))
        ones = self._ones[: len(samples)]
        wide, wide_mean = samples.astype(np.float64, order="C"), mean.astype(np.float64)
        self._count += len(samples)
        self._sums[:-1] += ones @ wide
        self._sums[-1] += ones @ wide_mean
        self._squares += wide.ravel() @ wide.ravel(), wide_mean @ wide_mean

    @property
    def loss(self) -> float:
        """Decibels by which the mean is below the channels, offsets apart; 0 where these are silent."""
        if not self._count:
            return 0.0
        squares, offsets = self._squares / self._count, np.square(self._sums / self._count)
        channels = float(squares[0] - offsets[:-1].sum()) / self._channels
        mean = float(squares[1] - offsets[-1])
        if not channels > _ROUNDING * float(squares.sum()) / (self._channels + 1):
            return 0.0
        return min(_MAX_LOSS, 10 * math.log10(channels / mean)) if mean > 0 else _MAX_LOSS
