"""Self-attentive pooling (Safari, India & Hernando 2020; Lin et al. 2017) of projected frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """Dropout, projection to `hidden` units, weighted means over a clip's own frames, a linear layer.

    Each of the `queries` gives a frame the score of its projection along a learnt direction; the softmax of
    the scores over the clip's frames is the weight of each. The means are concatenated.
    """

    def __init__(self, width: int, classes: int, *, hidden: int, queries: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width, hidden)
        self.query = nn.Linear(hidden, queries, bias=False)  # a bias would change no weight
        self.out = nn.Linear(queries * hidden, classes)

    def weights(self, projected: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, H) projected frames and (B,) lengths → (B, T, Q), which sum to 1 over a clip's frames."""
        places = torch.arange(projected.shape[1], device=projected.device)
        beyond = places >= lengths.to(projected.device)[:, None]
        scores = self.query(projected).masked_fill(beyond[:, :, None], -torch.inf)
        return torch.softmax(scores, dim=1)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) zero-padded frames and (B,) lengths, on the CPU → (B, K) scores."""
        projected = torch.relu(self.project(self.dropout(frames)))
        pooled = self.weights(projected, lengths).transpose(1, 2) @ projected  # (B, Q, H)
        return self.out(self.dropout(pooled.flatten(1)))
