"""Long clips: cut into windows, and the windows' pooled statistics merged as if the clip had been whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from layerprobe.cache.common.errors import InputError

SHORTEST_WINDOW = 2.0  # seconds: halves of it still last a second


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


class Merger:
    """Statistics over all frames of a clip from the statistics of its windows.

    stats: any of "mean", "std" (population), "max", "min"; "std" needs "mean" beside it.

    Mean and variance merge pairwise as in Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances" (1979), in float64; the result equals pooling all frames at
    once to float32 rounding.
    """

    def __init__(self, stats: Sequence[str]) -> None:
        if "std" in stats and "mean" not in stats:
            raise ValueError("std can only be merged together with mean")
        self.stats = tuple(stats)
        self.frames = 0
        self._values: dict[str, np.ndarray] = {}

    def add(self, values: np.ndarray, *, frames: int) -> None:
        """Take in one window: `values` (S, D), rows in the order of `stats`, over `frames` frames."""
        new = dict(zip(self.stats, values.astype(np.float64), strict=True))
        if self.frames == 0:
            self._values, self.frames = new, frames
            return
        old, total = self._values, self.frames + frames
        share = frames / total
        if "std" in new:
            apart = new["mean"] - old["mean"]
            variance = (1 - share) * old["std"] ** 2 + share * new["std"] ** 2
            old["std"] = np.sqrt(variance + share * (1 - share) * apart**2)
        if "mean" in new:
            old["mean"] += share * (new["mean"] - old["mean"])
        if "max" in new:
            np.maximum(old["max"], new["max"], out=old["max"])
        if "min" in new:
            np.minimum(old["min"], new["min"], out=old["min"])
        self.frames = total

    def result(self) -> np.ndarray:
        """(S, D) float32 over all frames so far, rows in the order of `stats`."""
        return np.stack([self._values[name] for name in self.stats]).astype(np.float32)
