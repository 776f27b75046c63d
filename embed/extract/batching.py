"""Windows of like length → batches under a budget of padded seconds, longest first.

The longest go first so that memory runs out at once or not at all, and so that what is left for the end is
small. Lengths are rounded up to a grid: a device that has seen a shape before has its plans for it at hand.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.extract.columnar import Numbers

SHORTEST_WINDOW = 2.0  # seconds: halves of it still last a second

GRID = 800  # samples; a twentieth of a second at 16 kHz


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A stretch of a clip that goes through the model in one piece.

    clip: its index in the run. begin, stop: samples at the model's rate. number, count: which window of how
    many the clip was cut into.
    """

    clip: int
    begin: int
    stop: int
    number: int = 0
    count: int = 1

    @property
    def samples(self) -> int:
        return self.stop - self.begin


def padded_length(samples: int) -> int:
    """Samples that a batch with this longest window is padded to."""
    return -(-samples // GRID) * GRID


def cut(clip: int, samples: int, *, window: float, rate: int) -> list[Window]:
    """The windows of a clip of so many samples, as `embed.extract.windows` cuts it."""
    spans = windows(samples, window=window, rate=rate)
    return [
        Window(clip=clip, begin=begin, stop=stop, number=number, count=len(spans))
        for number, (begin, stop) in enumerate(spans)
    ]


class Batches(Sequence[list[Window]]):
    """A plan's batches in their order; the windows of each, `most` in all, are made when it is asked for."""

    def __init__(self, *, most: int) -> None:
        self._windows = Numbers(Window, most=most)
        self._ends = array("q")

    def begin(self, windows: Iterable[Window]) -> None:
        """A further batch, of these windows."""
        self._ends.append(len(self._windows))
        self.extend(windows)

    def extend(self, windows: Iterable[Window]) -> None:
        """Further windows of the latest batch."""
        for window in windows:
            self._windows.append(window)
        self._ends[-1] = len(self._windows)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> list[Window]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Window]]: ...
    def __getitem__(self, index: int | slice) -> list[Window] | list[list[Window]]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return self._windows[self._ends[places - 1] if places else 0 : self._ends[places]]


def plan_batches(samples: Sequence[int], *, window: float, rate: int, budget: int) -> Batches:
    """Clips of so many samples, cut into windows of at most `window` seconds, in batches.

    The padded size of each (windows × padded length) is within the budget; a window longer than that gets a
    batch of its own. Windows of one clip stay in order and side by side, so that few clips are open at a
    time. No batch has a part of one clip and something of another. So what is left of a plan after any number
    of its batches is the plan of the clips that are left: a run that was cut short goes on with the very
    batches, and to the last bit the states, of one that was not.
    """

    def whole(clip: int) -> list[Window]:
        return cut(clip, samples[clip], window=window, rate=rate)

    longest, total = np.empty(len(samples), np.int64), 0
    for clip in range(len(samples)):
        pieces = whole(clip)
        longest[clip] = max(w.samples for w in pieces)
        total += len(pieces)
    batches = Batches(most=total)
    width, count, room = 0, 0, False
    for clip in np.argsort(-longest, kind="stable").tolist():
        pieces, needed = whole(clip), padded_length(int(longest[clip]))
        if room and max(width, needed) * (count + len(pieces)) <= budget:
            batches.extend(pieces)
            width, count = max(width, needed), count + len(pieces)
            continue
        fitting = max(1, budget // needed)
        for i in range(0, len(pieces), fitting):
            batches.begin(pieces[i : i + fitting])
        width, count, room = needed, len(pieces), len(pieces) <= fitting
    return batches


def padded_samples(batches: Sequence[Sequence[Window]]) -> int:
    """Samples computed for these batches, padding included."""
    return sum(len(batch) * padded_length(max(w.samples for w in batch)) for batch in batches)


def padding_share(batches: Sequence[Sequence[Window]]) -> float:
    """The part of all computed samples that is padding."""
    real = sum(window.samples for batch in batches for window in batch)
    return 1 - real / padded_samples(batches) if batches else 0.0


def windows(samples: int, *, window: float, rate: int) -> list[tuple[int, int]]:
    """Cut `samples` at `rate` per second into the fewest windows of at most `window` seconds.

    The windows are contiguous, cover every sample once and differ in length by at most one sample, so that
    none is a scrap: of a clip that is cut at all, none is shorter than `window / 2`, hence than a second.
    Returns (begin, stop) pairs in samples. Raises InputError where `window` is under two seconds or infinite.
    """
    if not SHORTEST_WINDOW <= window < math.inf:
        raise InputError(f"a window of {window:g} s", do=f"give at least {SHORTEST_WINDOW:g} seconds")
    longest = int(window * rate)
    count = max(1, -(-samples // longest))
    cuts = [samples * i // count for i in range(count + 1)]
    return list(pairwise(cuts))
