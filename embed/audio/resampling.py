"""Any sample rate → 16 kHz, window by window: torchaudio's windowed sinc, its kernels cached per rate.

The filter is `torchaudio.transforms.Resample` with a Kaiser window of 64 zero crossings (the settings that
torchaudio's documentation gives as equal to resampy's "kaiser_best"). Only its evaluation is different: any
stretch of the output is computed from the stretch of input that it depends on, on the sample grid of the
complete clip.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

ZEROS = 64  # zero crossings of the sinc on either side
ROLLOFF = 0.9475937167399596  # cut-off as a share of the lower Nyquist frequency
BETA = 14.769656459379492  # of the Kaiser window

_MAX_DENSE = 1 << 22  # weights above which a kernel is stored by its taps alone
_BLOCK_OUT = 64  # outputs of one matrix row: enough for the product to run at full rate
_BLOCK_BYTES = 1 << 20  # of inputs multiplied at a time
_BLOCK_TAPS = 1_024  # outputs whose taps are computed at a time


class Resampler(Protocol):
    """Outputs `begin` to `stop` > `begin` depend on inputs `span(begin, stop)`, zero outside the clip."""

    def span(self, begin: int, stop: int) -> tuple[int, int]: ...

    def apply(self, inputs: np.ndarray, begin: int, stop: int) -> np.ndarray:
        """The complete span of inputs → (stop - begin,) float32."""
        ...


@lru_cache(maxsize=16)
def resampler(source: int, target: int) -> Resampler:
    """The resampler between two rates in Hz. Safe to call and to use from several threads."""
    common = math.gcd(source, target)
    old, new = source // common, target // common
    width = math.ceil(ZEROS * old / (min(old, new) * ROLLOFF))
    dense = new * (old + 2 * width) <= _MAX_DENSE
    return _Dense(source, target, old, new) if dense else _Taps(old, new, width)


class _Dense:
    """Rates in a short ratio: each step of `old` inputs gives `new` outputs by one matrix product.

    torchaudio convolves with a stride instead, which for a ratio as short as 3:1 has one output channel and
    leaves the processor idle; here a step spans several such ratios.
    """

    def __init__(self, source: int, target: int, old: int, new: int) -> None:
        from torchaudio.transforms import Resample  # slow to import

        kaiser = {"lowpass_filter_width": ZEROS, "rolloff": ROLLOFF, "beta": BETA}
        transform = Resample(source, target, resampling_method="sinc_interp_kaiser", **kaiser)
        kernel = transform.kernel[:, 0]  # (new, old + 2 * width)
        repeat = -(-_BLOCK_OUT // new)
        self.old, self.new, self.width = old * repeat, new * repeat, transform.width
        self.kernel = torch.zeros(self.old + 2 * self.width, self.new)
        for i in range(repeat):
            self.kernel[i * old : i * old + kernel.shape[1], i * new : (i + 1) * new] = kernel.T

    def span(self, begin: int, stop: int) -> tuple[int, int]:
        first, last = begin // self.new, -(-stop // self.new)
        return first * self.old - self.width, last * self.old + self.width

    def apply(self, inputs: np.ndarray, begin: int, stop: int) -> np.ndarray:
        spans = torch.from_numpy(inputs).unfold(0, len(self.kernel), self.old)
        steps = torch.empty(len(spans), self.new)
        rows = max(1, _BLOCK_BYTES // (4 * len(self.kernel)))
        for at in range(0, len(spans), rows):
            # The product copies its spans, which overlap: a block at a time stays in the processor's cache.
            torch.mm(spans[at : at + rows], self.kernel, out=steps[at : at + rows])
        skip = begin % self.new
        return steps.reshape(-1)[skip : skip + stop - begin].numpy()


class _Taps:
    """Rates in a long ratio (44,101 : 16,000), whose dense kernel would fill gigabytes: taps by phase."""

    def __init__(self, old: int, new: int, width: int) -> None:
        self.old, self.new, self.width = old, new, width
        self.weights = np.empty((new, 2 * width + 2), np.float32)
        cutoff = min(old, new) * ROLLOFF / old  # as a share of the source's Nyquist frequency
        for at in range(0, new, _BLOCK_TAPS):
            output = np.arange(at, min(at + _BLOCK_TAPS, new))[:, None]
            time = (np.arange(-width, width + 2) - output * old % new / new) * cutoff
            window = np.i0(BETA * np.sqrt(1 - np.clip(time / ZEROS, -1, 1) ** 2)) / np.i0(BETA)
            taps = np.where(np.abs(time) < ZEROS, np.sinc(time) * window * cutoff, 0)
            self.weights[at : at + _BLOCK_TAPS] = taps

    def span(self, begin: int, stop: int) -> tuple[int, int]:
        return begin * self.old // self.new - self.width, (stop - 1) * self.old // self.new + self.width + 2

    def apply(self, inputs: np.ndarray, begin: int, stop: int) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(inputs, self.weights.shape[1])
        first = begin * self.old // self.new
        wave = np.empty(stop - begin, np.float32)
        for at in range(begin, stop, _BLOCK_TAPS):
            output = np.arange(at, min(at + _BLOCK_TAPS, stop))
            taps = windows[output * self.old // self.new - first]
            wave[output - begin] = np.einsum("ot,ot->o", taps, self.weights[output % self.new])
        return wave
