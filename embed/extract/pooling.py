"""`pool`: masked statistics over frames. `WindowMerger`: combines the windows of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from layerprobe.embed.models.fused.moments import ClipMoments, TailMask, clip_moments, merge_moments


class Pooling:
    """Statistics of the clips of one batch in several layers of one width, each as by `pool`.

    What is left of the work after one pass over a layer's states is done for all layers together, because on
    a GPU each of its many small steps costs a launch.
    """

    def __init__(self, stats: Sequence[str]) -> None:
        self._stats = tuple(stats)
        self._moments: list[ClipMoments] = []
        self._extremes: dict[str, list[torch.Tensor]] = {name: [] for name in ("max", "min") if name in stats}
        self._tail: TailMask | None = None

    def add(self, states: torch.Tensor, frames: torch.Tensor) -> None:
        """The next layer's states (B, F, D) of any floating type, and the frame counts (B,) on the host."""
        if self._tail is None:
            self._tail = TailMask(frames, states.shape[1], device=states.device)
        if "mean" in self._stats or "std" in self._stats:
            self._moments.append(clip_moments(states.transpose(1, 2), self._tail))
        for name, extremes in self._extremes.items():
            extremes.append(_extreme(states, self._tail, name))

    def result(self) -> torch.Tensor:
        """(L, B, S, D) float32 of the layers added, statistics in their order."""
        assert self._tail is not None, "no layer was added"
        found = {name: torch.stack(extremes).float() for name, extremes in self._extremes.items()}
        if self._moments:
            found["mean"], variance = merge_moments(self._moments, self._tail)
            if "std" in self._stats:
                found["std"] = variance.sqrt()
        return torch.stack([found[name] for name in self._stats], dim=2)


def _extreme(states: torch.Tensor, tail: TailMask, name: str) -> torch.Tensor:
    """The largest or smallest value (B, D) over each clip's own frames."""
    reduce, combine, never = (
        (torch.amax, torch.maximum, -torch.inf) if name == "max" else (torch.amin, torch.minimum, torch.inf)
    )
    largest = reduce(states[:, : tail.least], 1)
    if tail.beyond is None:
        return largest
    rest = states[:, tail.least : tail.most].masked_fill(tail.beyond[:, :, None], never)
    return combine(largest, reduce(rest, 1))


def pool(states: torch.Tensor, frames: torch.Tensor, stats: Sequence[str]) -> torch.Tensor:
    """Statistics of each clip over its own frames, computed in float32.

    states: (B, F, D) of any floating type, not modified; values beyond a clip's frames are ignored, even NaN.
    frames: (B,) integer, from 1 to F.
    stats: names from `embed.config.STATS`. "std" is the population's (divided by the count), computed about
        the mean in a second pass, so that a large mean costs no precision.

    Returns (B, len(stats), D) float32 on the states' device.
    """
    if int(frames.min()) == states.shape[1]:
        return _pool_complete(states.float(), stats)
    frames = frames.to(states.device)
    inside = torch.arange(states.shape[1], device=states.device) < frames[:, None]
    inside, outside = inside[:, :, None].float(), ~inside[:, :, None]
    count = frames[:, None].float()
    states = states.float()
    pooled: dict[str, torch.Tensor] = {}
    # Sums, not products with a row of weights: those would lose precision to autocast and TF32.
    if "mean" in stats or "std" in stats:
        own = states.masked_fill(outside, 0)
        pooled["mean"] = own.sum(1) / count
        if "std" in stats:
            own.addcmul_(inside, pooled["mean"][:, None], value=-1).square_()
            pooled["std"] = (own.sum(1) / count).sqrt()
    if "max" in stats:
        pooled["max"] = states.masked_fill(outside, -torch.inf).amax(1)
    if "min" in stats:
        pooled["min"] = states.masked_fill(outside, torch.inf).amin(1)
    return torch.stack([pooled[name] for name in stats], dim=1)


def _pool_complete(states: torch.Tensor, stats: Sequence[str]) -> torch.Tensor:
    """`pool` where every frame is a clip's own: no mask, and no copy to apply it to. states: float32."""
    pooled: dict[str, torch.Tensor] = {}
    if "mean" in stats or "std" in stats:
        pooled["mean"] = states.sum(1) / states.shape[1]
        if "std" in stats:
            squares = (states - pooled["mean"][:, None]).square_()
            pooled["std"] = squares.sum(1).div_(states.shape[1]).sqrt_()
    if "max" in stats:
        pooled["max"] = states.amax(1)
    if "min" in stats:
        pooled["min"] = states.amin(1)
    return torch.stack([pooled[name] for name in stats], dim=1)


class WindowMerger:
    """Merges the statistics of a clip's windows into statistics over all its frames.

    stats: names from `embed.config.STATS`; "std" requires "mean".

    Mean and variance are merged pairwise as in Chan, Golub and LeVeque, "Updating formulae and a pairwise
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
        """Add a window: values (S, D), rows in the order of `stats`, over `frames` frames."""
        new = dict(zip(self.stats, values.astype(np.float64), strict=True))
        if self.frames == 0:
            self._values, self.frames = new, frames
            return
        old, total = self._values, self.frames + frames
        share = frames / total
        if "std" in new:
            difference = new["mean"] - old["mean"]
            variance = (1 - share) * old["std"] ** 2 + share * new["std"] ** 2
            old["std"] = np.sqrt(variance + share * (1 - share) * difference**2)
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


def mergeable_stats(stats: Sequence[str]) -> tuple[str, ...]:
    """The statistics to pool so that windows can be merged: `stats`, then the mean that std requires."""
    extra = ("mean",) if "std" in stats and "mean" not in stats else ()
    return (*stats, *extra)
