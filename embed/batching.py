"""Windows of like length → batches under a budget of padded seconds, longest first.

The longest go first so that memory runs out at once or not at all, and so that what is left for the end is
small. Lengths are rounded up to a grid: a device that has seen a shape before has its plans for it at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GRID = 4_000  # samples; a quarter of a second at 16 kHz


@dataclass(frozen=True, kw_only=True)
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


def plan_batches(windows: Sequence[Window], *, budget: int) -> list[list[Window]]:
    """Batches of windows whose padded size (windows × padded length, in samples) stays within the budget.

    Windows of one clip stay in order and side by side, so that few clips are open at a time. A window longer
    than the budget gets a batch of its own.
    """
    longest: dict[int, int] = {}
    for window in windows:
        longest[window.clip] = max(longest.get(window.clip, 0), window.samples)
    ordered = sorted(windows, key=lambda w: (-longest[w.clip], w.clip, w.number))
    batches: list[list[Window]] = []
    width = 0
    for window in ordered:
        needed = max(width, padded_length(window.samples))
        if batches and needed * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(window)
            width = needed
        else:
            batches.append([window])
            width = padded_length(window.samples)
    return batches


def padded_samples(batches: Sequence[Sequence[Window]]) -> int:
    """Samples computed for these batches, padding included."""
    return sum(len(batch) * padded_length(max(w.samples for w in batch)) for batch in batches)


def padding_share(batches: Sequence[Sequence[Window]]) -> float:
    """The part of all computed samples that is padding."""
    real = sum(window.samples for batch in batches for window in batch)
    return 1 - real / padded_samples(batches) if batches else 0.0
