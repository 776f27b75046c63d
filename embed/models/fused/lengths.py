"""Lengths of the clips in a padded batch, on the host and on the device, and the masks they give.

Whether anything is padded is decided on the host, where the lengths are known: asking the device would wait
for all the work that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from layerprobe.embed.models.device import to_device

_ALIGNED = 16  # numbers to which the rows of a mask are padded in memory: CUDA's attention copies others


class BatchLengths:
    """Lengths of clips in samples and in frames.

    samples, frames: of each clip. frame_counts: the frames as a tensor (B,) on the host.
    """

    def __init__(self, samples: Sequence[int], frames: Sequence[int], device: torch.device) -> None:
        self.samples, self.frames, self.device = list(samples), list(frames), device
        self.frame_counts = torch.tensor(self.frames)
        self.longest = max(self.frames)
        self.uneven = min(self.frames) < self.longest

    @cached_property
    def samples_on_device(self) -> torch.Tensor:
        return to_device(torch.tensor(self.samples), self.device)

    @cached_property
    def frames_on_device(self) -> torch.Tensor:
        return to_device(self.frame_counts, self.device)


def is_beyond(length: int, counts: torch.Tensor) -> torch.Tensor:
    """(B, length): which positions are not among each clip's first `counts` (B,)."""
    return torch.arange(length, device=counts.device) >= counts[:, None]


def attention_mask(beyond: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What attention adds to its scores (B, 1, 1, F) so that no frame attends to those of `beyond` (B, F)."""
    clips, frames = beyond.shape
    rows = torch.zeros(clips, 1, 1, -(-frames // _ALIGNED) * _ALIGNED, dtype=dtype, device=beyond.device)
    return rows[..., :frames].masked_fill_(beyond[:, None, None], -torch.inf)
