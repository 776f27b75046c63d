"""Mean and variance over each clip's own part of a padded batch, in few operations and one pass.

All clips of a batch are at least as long as the shortest, which is nearly as long as the longest, because
batches are made of clips of similar length. So the frames that all clips have need no mask: one pass gives
their moments. The few frames after them are masked and merged, as in Chan, Golub and LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances" (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from layerprobe.embed.models.device import to_device


class TailMask:
    """Which frames of a padded batch are whose.

    least, most: frames of the shortest and of the longest clip. beyond: (B, most - least), which of the
    frames after the first `least` are not a clip's own; None if all clips are equally long. counts: (B,)
    float32, frames of each clip, on the device.
    """

    def __init__(self, counts: torch.Tensor, padded: int, *, device: torch.device) -> None:
        """counts: (B,) integer, on the host, from 1 to `padded`."""
        numbers = counts.tolist()
        self.least, self.most = min(numbers), max(numbers)
        if not 1 <= self.least <= self.most <= padded:
            raise ValueError(f"clips of {self.least} to {self.most} frames in {padded}")
        self.counts = to_device(counts.float(), device)
        self.beyond: torch.Tensor | None = None
        if self.least < self.most:
            positions = torch.arange(self.least, self.most, device=device)
            self.beyond = positions >= self.counts[:, None]


@dataclass(frozen=True)
class ClipMoments:
    """Moments of one layer: of the frames that all clips have, and of the others about that mean.

    Each (B, D) float32. The tail's are over all its columns, of which those beyond a clip count as zero.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    tail_mean: torch.Tensor | None
    tail_variance: torch.Tensor | None


def clip_moments(states: torch.Tensor, tail: TailMask) -> ClipMoments:
    """states (B, D, F) of any floating type and layout → their moments, to be merged."""
    variance, mean = torch.var_mean(states[..., : tail.least].float(), dim=-1, correction=0)
    if tail.beyond is None:
        return ClipMoments(mean, variance, None, None)
    rest = states[..., tail.least : tail.most] - mean[..., None]
    rest.masked_fill_(tail.beyond[:, None], 0.0)
    tail_variance, tail_mean = torch.var_mean(rest, dim=-1, correction=0)
    return ClipMoments(mean, variance, tail_mean, tail_variance)


def merge_moments(layers: Sequence[ClipMoments], tail: TailMask) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and population variance (L, B, D) of each layer over each clip's own frames."""
    mean = torch.stack([layer.mean for layer in layers])
    variance = torch.stack([layer.variance for layer in layers])
    if tail.beyond is None:
        return mean, variance
    width = tail.most - tail.least
    count = tail.counts[:, None]
    # Sums of a clip's tail about the mean of its other frames, and their squares.
    tail_mean = torch.stack([_given(layer.tail_mean) for layer in layers])
    tail_variance = torch.stack([_given(layer.tail_variance) for layer in layers])
    shift = tail_mean * (width / count)
    squares = (tail_variance + tail_mean.square()) * (width / count)
    merged = variance * (tail.least / count) + squares - shift.square()
    return mean + shift, merged.clamp_min_(0.0)


def _given(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor
