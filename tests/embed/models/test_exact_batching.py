"""The first norm over each clip's own frames, compared with the definition in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layerprobe.embed.models.exact_batching import LengthAwareGroupNorm

CHANNELS, FRAMES = 8, (400, 1_000, 733)


def normalised(states: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """(C, F) by the definition, in double precision."""
    exact = states.double()
    mean, variance = exact.mean(1, keepdim=True), exact.var(1, correction=0, keepdim=True)
    weight, bias = norm.weight.double()[:, None], norm.bias.double()[:, None]
    return (exact - mean) / torch.sqrt(variance + norm.eps) * weight + bias


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0, 3_000.0])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("channels", [1, CHANNELS])
@pytest.mark.parametrize("device", ["cpu", "gpu"])  # the steps taken there; both run here
@torch.no_grad()
def test_an_offset_costs_no_digits_of_the_spread(
    offset: float, channels: int, padded: bool, device: str
) -> None:
    """A DC offset in a recording makes a channel's mean much larger than its spread."""
    generator = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(CHANNELS, CHANNELS)
    nn.init.normal_(norm.weight, generator=generator)
    nn.init.normal_(norm.bias, generator=generator)
    ours = LengthAwareGroupNorm(norm)
    counts = FRAMES if padded else (max(FRAMES),) * len(FRAMES)
    ours.frames = list(counts) if padded else None
    states = torch.randn(len(counts), CHANNELS, max(counts), generator=generator)
    states[:, :channels] += offset
    if device == "cpu":
        out = ours(states.clone())
    else:
        out = ours.apply_launched(states, *ours.moments_launched(states))
    for clip, result, count in zip(states, out, counts, strict=True):
        expected = normalised(clip[:, :count], norm)
        # One rounding of float32 at the offset, and nothing beyond it.
        tolerance = 2e-6 * max(1.0, offset)
        torch.testing.assert_close(result[:, :count].double(), expected, rtol=0, atol=tolerance)
