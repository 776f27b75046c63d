"""`Backbone`: what an extraction needs of a model, whatever its family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

# visit(layer, states (B, F, D), frames (B,) on the host); states beyond a clip's own frames are undefined
Visit = Callable[[str, torch.Tensor, torch.Tensor], None]


class Backbone(Protocol):
    """What extraction needs of a model.

    layers, widths: the selected layers and the D of each. normalise: whether clips must have mean 0 and
    variance 1. precision: "fp32", "bf16" or "fp16"; a backbone in half precision may be set to fp32 and
    back. frame_rate: frames per second. receptive_field: seconds of sound that a frame covers.
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    normalise: bool
    precision: str
    frame_rate: float
    receptive_field: float
    device: torch.device

    def frames(self, samples: int) -> int:
        """Frames in a clip of `samples` samples; 0 if it is too short for the model."""
        ...

    def processed(self, samples: int) -> int:
        """Samples that are computed for a clip of `samples` samples: more where silence is added."""
        ...

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """One forward pass over waves (B, T) float32, zero beyond lengths (B,) in samples.

        Calls `visit` once for each layer, in order.
        """
        ...
