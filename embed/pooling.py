"""Masked statistics over frames: one row per clip and statistic, whatever the batch was padded to."""

from __future__ import annotations

from collections.abc import Sequence

import torch

STATS = ("mean", "std", "max", "min")


def pool(states: torch.Tensor, frames: torch.Tensor, stats: Sequence[str]) -> torch.Tensor:
    """Statistics of each clip over its own frames.

    states: (B, F, D) of any floating type; what lies beyond a clip's frames is never looked at, NaN included.
    frames: (B,) integer, at least 1 and at most F.
    stats: names out of STATS; "std" is the population's (divided by the count), taken about the mean in a
        second pass, so that a large mean costs no precision.

    Returns (B, len(stats), D) float32 on the states' device.
    """
    states = states.float()
    outside = torch.arange(states.shape[1], device=states.device) >= frames.to(states.device)[:, None]
    outside = outside[:, :, None]
    count = frames.to(states.device, torch.float32)[:, None]
    pooled: dict[str, torch.Tensor] = {}
    if "mean" in stats or "std" in stats:
        pooled["mean"] = states.masked_fill(outside, 0).sum(1) / count
    if "std" in stats:
        centred = (states - pooled["mean"][:, None]).masked_fill(outside, 0)
        pooled["std"] = (centred.square().sum(1) / count).sqrt()
    if "max" in stats:
        pooled["max"] = states.masked_fill(outside, -torch.inf).amax(1)
    if "min" in stats:
        pooled["min"] = states.masked_fill(outside, torch.inf).amin(1)
    return torch.stack([pooled[name] for name in stats], dim=1)
