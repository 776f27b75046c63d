"""Networks that read every frame of a clip, on padded batches; padding affects no number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from layerprobe.classify.heads.base import Params


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


def build_bilstm(width: int, classes: int, params: Params) -> BiLstm:
    """The network of a trial of the head `bilstm`, to be trained."""
    names = ("hidden", "dropout", "pooling")
    return BiLstm(width, classes, **{name: params[name] for name in names})


def build_attention(width: int, classes: int, params: Params) -> AttentionPooling:
    """The network of a trial of the head `attention`, to be trained."""
    return AttentionPooling(width, classes, dropout=params["dropout"])


def restore_bilstm(
    tensors: Mapping[str, np.ndarray], *, width: int, classes: int, hidden: int, pooling: str
) -> BiLstm:
    """The network with these parameters, for prediction. Raises ValueError where they do not fit it."""
    try:
        with torch.device("meta"):  # nothing is allocated or drawn
            model = BiLstm(width, classes, hidden=hidden, dropout=0.0, pooling=pooling)
        model.load_state_dict({name: torch.from_numpy(a) for name, a in tensors.items()}, assign=True)
    except (RuntimeError, TypeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"the network's parameters do not fit ({first})") from error
    return model.eval()
