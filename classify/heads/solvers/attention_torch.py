"""Training of attention pooling on padded batches; padding affects no number."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.heads.base import Params
from layerprobe.classify.heads.solvers.bilstm_torch import train_network


class AttentionPooling(nn.Module):
    """The mean of a clip's frames, weighted by a softmax of their products with a query; one linear layer.

    The query begins at 0, where all frames have the same weight.
    """

    def __init__(self, width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) zero-padded frames and (B,) lengths → (B, K) scores."""
        own = torch.arange(frames.shape[1], device=frames.device) < lengths.to(frames.device)[:, None]
        products = frames @ self.query / frames.shape[2] ** 0.5
        weights = products.masked_fill(~own, -torch.inf).softmax(1)
        return self.out(self.dropout((weights[:, None] @ frames)[:, 0]))


def train(
    scaled: ScaledFrames,
    rows: np.ndarray,
    y: np.ndarray,
    validation: np.ndarray,
    *,
    weights: np.ndarray,
    classes: int,
    params: Params,
    device: str,
    seed: int,
) -> AttentionPooling:
    """As `bilstm_torch.train`."""

    def build() -> AttentionPooling:
        return AttentionPooling(scaled.width, classes, dropout=params["dropout"])

    return train_network(
        build,
        scaled,
        rows,
        y,
        validation,
        weights=weights,
        classes=classes,
        rate=params["rate"],
        device=device,
        seed=seed,
    )
