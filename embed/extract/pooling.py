"""Masked statistics over frames: one row per clip and statistic, whatever the batch was padded to."""

from __future__ import annotations

from collections.abc import Sequence

import torch

STATS = ("mean", "std", "max", "min")


def pool(states: torch.Tensor, frames: torch.Tensor, stats: Sequence[str]) -> torch.Tensor:
    """Statistics of each clip over its own frames, computed in float32.

    states: (B, F, D) of any floating type, left as they are; what lies beyond a clip's frames has no part in
        the result, be it NaN.
    frames: (B,) integer, at least 1 and at most F.
    stats: names out of STATS. "std" is the population's (divided by the count), taken about the mean in a
        second pass, so that a large mean costs no precision.

    Returns (B, len(stats), D) float32 on the states' device.
    """
    frames = frames.to(states.device)
    inside = torch.arange(states.shape[1], device=states.device) < frames[:, None]
    inside, outside = inside[:, :, None].float(), ~inside[:, :, None]
    count = frames[:, None].float()
    states = states.float()
    pooled: dict[str, torch.Tensor] = {}
    # Sums, not products with a row of weights: those would follow autocast and TF32 into lower precision.
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
