"""Cut clips into windows and group windows of similar length into batches, longest first.

With the longest first, memory runs out at once or not at all, and the end of a run is made of small batches.
Lengths are rounded up to a grid, so that a device sees few shapes and can reuse its plans for them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from layerprobe.embed.audio.headers import LazyRecords
from layerprobe.embed.config import RATE, EmbedConfig, check_window

BATCH_SECONDS = {"cpu": 8.0, "cuda": 320.0}  # padded sound in a batch; halved when memory runs out
GRID = 800  # samples; 50 ms at 16 kHz


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A stretch of a clip that passes through the model in one piece.

    clip: its index in the run. begin, stop: samples at 16 kHz. number: its place among the clip's `count`.
    """

    clip: int
    begin: int
    stop: int
    number: int = 0
    count: int = 1

    @property
    def samples(self) -> int:
        return self.stop - self.begin


def batch_budget(config: EmbedConfig, device: torch.device) -> int:
    """Padded samples in a batch: as configured, else the device's default."""
    seconds = config.batch_seconds or BATCH_SECONDS.get(device.type, BATCH_SECONDS["cpu"])
    return int(seconds * RATE)


def padded_length(samples: int) -> int:
    """Samples to which a batch is padded whose longest window has `samples` samples."""
    return -(-samples // GRID) * GRID


def cut(clip: int, samples: int, *, window: float) -> list[Window]:
    """Cut a clip of `samples` samples into the fewest windows of at most `window` seconds.

    The windows are contiguous, cover every sample once and differ in length by at most one sample: of a clip
    that is cut at all, none is shorter than `window / 2`. Raises InputError if `window` is under two seconds
    or infinite.
    """
    return cut_evenly(clip, samples, int(_window_counts(np.int64(samples), window)))


def cut_evenly(clip: int, samples: int, count: int) -> list[Window]:
    """Cut a clip of `samples` samples into `count` windows."""
    spans = (_span(samples, number, count) for number in range(count))
    return [
        Window(clip=clip, begin=begin, stop=stop, number=number, count=count)
        for number, (begin, stop) in enumerate(spans)
    ]


def _span(samples: Any, number: Any, count: Any) -> tuple[Any, Any]:
    """Where a window begins and stops in its clip; integers or integer arrays."""
    return samples * number // count, samples * (number + 1) // count


def _window_counts(samples: np.ndarray | np.int64, window: float) -> np.ndarray:
    check_window(window)
    return np.maximum(1, -(-samples // int(window * RATE)))


def plan_batches(
    samples: Sequence[int] | np.ndarray, *, window: float, budget: int, processed: Callable[[int], int] = int
) -> LazyRecords[list[Window]]:
    """Cut clips of `samples` samples into windows of at most `window` seconds, and group these in batches.

    The size of a batch (windows × samples `processed` for the padded length) is within `budget` samples; a
    longer window gets a batch of its own. A clip's windows stay in order and next to each other, so that few
    clips are open at a time, and no batch holds both a part of one clip and anything of another. What remains
    of a plan after any number of its batches is therefore the plan of the remaining clips: a run that was
    stopped and resumed computes the same batches, and to the last bit the same states, as one that was not.
    """
    lengths = np.asarray(samples, np.int64)
    counts = _window_counts(lengths, window)
    longest = -(-lengths // counts)  # window of each clip
    order = np.argsort(-longest, kind="stable")
    bounds = array("q", [0])  # batch i has the windows from bounds[i] to bounds[i + 1], in that order
    width, rows, open_batch = 0, 0, False
    for count, length in zip(counts[order].tolist(), longest[order].tolist(), strict=True):
        if open_batch and width * (rows + count) <= budget:
            bounds[-1] += count
            rows += count
            continue
        width, rows = processed(padded_length(length)), count
        fitting = max(1, budget // width)
        for first in range(0, count, fitting):
            bounds.append(bounds[-1] + min(fitting, count - first))
        open_batch = count <= fitting
    clips = np.repeat(order, counts[order])  # the clip of each window
    first_windows = np.cumsum(counts[order]) - counts[order]
    numbers = np.arange(len(clips)) - np.repeat(first_windows, counts[order])
    begins, stops = _span(lengths[clips], numbers, counts[clips])
    windows = np.column_stack([clips, begins, stops, numbers, counts[clips]])

    def batch(bound: np.ndarray) -> list[Window]:
        return [
            Window(clip=clip, begin=begin, stop=stop, number=number, count=count)
            for clip, begin, stop, number, count in windows[slice(*bound)].tolist()
        ]

    return LazyRecords(np.column_stack([bounds[:-1], bounds[1:]]), batch)


def padded_samples(batches: Sequence[Sequence[Window]], *, processed: Callable[[int], int] = int) -> int:
    """Samples computed for these batches, padding included."""
    return sum(
        len(batch) * processed(padded_length(max(window.samples for window in batch))) for batch in batches
    )


def padding_share(batches: Sequence[Sequence[Window]]) -> float:
    """The share of padding among all computed samples."""
    real = sum(window.samples for batch in batches for window in batch)
    return 1 - real / padded_samples(batches) if batches else 0.0
