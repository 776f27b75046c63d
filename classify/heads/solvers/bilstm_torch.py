"""A bidirectional LSTM with pooling over a clip's own frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BiLstm(nn.Module):
    """Dropout, one bidirectional LSTM, pooling over a clip's own frames, dropout, one linear layer.

    pooling: `mean` of both directions' outputs over the clip, or `last`, the final output of each direction.
    """

    def __init__(self, width: int, classes: int, *, hidden: int, dropout: float, pooling: str) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, classes)
        self.pooling = pooling

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) zero-padded frames and (B,) lengths, on the CPU → (B, K) scores."""
        packed = pack_padded_sequence(self.dropout(frames), lengths, batch_first=True, enforce_sorted=False)
        outputs, (last, _) = self.lstm(packed)
        if self.pooling == "last":
            pooled = torch.cat([last[0], last[1]], dim=1)
        else:
            padded, _ = pad_packed_sequence(outputs, batch_first=True)  # zeros after each clip's end
            pooled = padded.sum(1) / lengths.to(padded.device)[:, None]
        return self.out(self.dropout(pooled))
