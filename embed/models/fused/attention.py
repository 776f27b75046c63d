"""Self-attention of a frozen block: q, k and v in one product, torch's fused attention for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class FusedAttention(nn.Module):
    """Self-attention with the weights of transformers' (`q_proj`, `k_proj`, `v_proj`, `out_proj`).

    The module it is made from is left without them, or they would be held twice.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads = int(attention.num_heads)
        layers = [attention.q_proj, attention.k_proj, attention.v_proj]
        self.products: Any = _linear(  # or packed
            torch.cat([layer.weight.detach() for layer in layers]),
            torch.cat([_bias(layer) for layer in layers]),
        )
        self.out: Any = attention.out_proj
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            delattr(attention, name)

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor | None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """hidden (B, F, D) → (B, F, D). mask (B, 1, 1, F): added to the scores."""
        return self._attend(self.products(hidden), mask, width=hidden.shape[2])

    def _attend(self, products: torch.Tensor, mask: torch.Tensor | None, *, width: int) -> torch.Tensor:
        """products: q, k and v in the first columns, each of so many; mask: (B, 1, 1, F) or (B, H, F, F)."""
        clips, frames, _ = products.shape
        separate = products[..., : 3 * width].view(clips, frames, 3, self.heads, width // self.heads)
        q, k, v = separate.permute(2, 0, 3, 1, 4).unbind()
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: torch.Tensor = self.out(attended.transpose(1, 2).reshape(clips, frames, width))
        return out


class GatedAttention(FusedAttention):
    """WavLM's: with a bias by relative position, gated by each frame (Chen et al., "WavLM", 2022).

    The gates of a head depend on its own part of a frame. As rows that are zero elsewhere, their weights join
    the product that gives q, k and v.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__(attention)
        gates = attention.gru_rel_pos_linear  # to two gates of four numbers each, which are only ever summed
        weight = gates.weight.detach().view(2, 4, gates.in_features).sum(1)
        bias = gates.bias.detach().view(2, 4).sum(1)
        self.products = _linear(
            torch.cat([self.products.weight, torch.block_diag(*[weight] * self.heads)]),
            torch.cat([self.products.bias, bias.repeat(self.heads)]),
        )
        self.gate_scale = _frozen(attention.gru_rel_pos_const.detach().flatten())  # (H,)
        # The first block of a model makes the bias, the others are given it.
        self.positions = attention if hasattr(attention, "rel_attn_embed") else None
        del attention.gru_rel_pos_linear, attention.gru_rel_pos_const

    def bias(self, frames: int) -> torch.Tensor:
        """The bias (H, F, F) of any clips in F frames. Only the first block of a model has it."""
        assert self.positions is not None
        bias: torch.Tensor = self.positions.compute_bias(frames, frames)
        return bias.to(self.products.weight.dtype)

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor | None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `FusedAttention.forward`; bias: as `bias` makes it."""
        assert bias is not None
        clips, frames, width = hidden.shape
        products = self.products(hidden)
        gates = products[..., 3 * width :].sigmoid().view(clips, frames, self.heads, 2)
        gate = gates[..., 0] * (gates[..., 1] * self.gate_scale - 1.0) + 2.0
        scores = gate.transpose(1, 2)[..., None] * bias
        return self._attend(products, scores if mask is None else scores.add_(mask), width=width)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = _frozen(weight), _frozen(bias)
    return layer


def _bias(layer: nn.Linear) -> torch.Tensor:
    return torch.zeros_like(layer.weight[:, 0]) if layer.bias is None else layer.bias.detach()


def _frozen(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
