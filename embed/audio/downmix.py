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
        self._count = 0
        # Of each channel, and last of their mean: sums of samples and of their squares.
        self._sums, self._squares = np.zeros(channels + 1), np.zeros(channels + 1)

    def mix(self, samples: np.ndarray, *, measure: bool) -> np.ndarray:
        """(T, C) float32 → (T,); measure: include them in `loss`."""
        if self._channel is not None:
            return samples[:, self._channel]
        # Several times as fast as a mean over so short an axis.
        mean = np.einsum("tc->t", samples) / np.float32(samples.shape[1])
        if measure:
            self._count += len(samples)
            for number, wave in enumerate((*samples.T, mean)):
                wide = wave.astype(np.float64)
                self._sums[number] += wide.sum()
                self._squares[number] += wide @ wide
        return mean

    @property
    def loss(self) -> float:
        """Decibels by which the mean is below the channels, offsets apart; 0 where these are silent."""
        if not self._count:
            return 0.0
        squares = self._squares / self._count
        power = squares - np.square(self._sums / self._count)
        channels, mean = float(power[:-1].mean()), float(power[-1])
        if not channels > _ROUNDING * float(squares.mean()):
            return 0.0
        return min(_MAX_LOSS, 10 * math.log10(channels / mean)) if mean > 0 else _MAX_LOSS
