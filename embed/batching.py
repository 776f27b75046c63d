"""Windows of like length → batches under a budget of padded seconds, longest first.

The longest go first so that memory runs out at once or not at all, and so that what is left for the end is
small. Lengths are rounded up to a grid: a device that has seen a shape before has its plans for it at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def plan_batches(windows: Sequence[Window], *, budget: int) -> list[list[Window]]:
    """Batches of windows whose padded size (windows × padded length, in samples) stays within the budget.

    Windows of one clip stay in order and side by side, so that few clips are open at a time; a window longer
    than the budget gets a batch of its own. No batch has a part of one clip and something of another. So what
    is left of a plan after any number of its batches is the plan of the clips that are left: a run that was
    cut short goes on with the very batches, and to the last bit the states, of one that was not.
    """
    clips: dict[int, list[Window]] = {}
    for window in windows:
        clips.setdefault(window.clip, []).append(window)
    batches: list[list[Window]] = []
    width, room = 0, False
    for whole in sorted(clips.values(), key=lambda clip: (-max(w.samples for w in clip), clip[0].clip)):
        whole.sort(key=lambda w: w.number)
        needed = max(padded_length(w.samples) for w in whole)
        if room and max(width, needed) * (len(batches[-1]) + len(whole)) <= budget:
            batches[-1] += whole
            width = max(width, needed)
            continue
        fitting = max(1, budget // needed)
        batches += [whole[i : i + fitting] for i in range(0, len(whole), fitting)]
        width, room = needed, len(whole) <= fitting
    return batches


def padded_samples(batches: Sequence[Sequence[Window]]) -> int:
    """Samples computed for these batches, padding included."""
    return sum(len(batch) * padded_length(max(w.samples for w in batch)) for batch in batches)


def padding_share(batches: Sequence[Sequence[Window]]) -> float:
    """The part of all computed samples that is padding."""
    real = sum(window.samples for batch in batches for window in batch)
    return 1 - real / padded_samples(batches) if batches else 0.0
