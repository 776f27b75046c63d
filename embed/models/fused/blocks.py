"""A frozen transformer block of the wav2vec2 family or of Whisper: norms, attention and two linear layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from layerprobe.embed.models.fused.attention import FusedAttention, GatedAttention
from layerprobe.embed.models.fused.packed import PackedLinear


class FusedBlock(nn.Module):
    """One block, made from transformers', whose weights become this module's.

    pre_norm: norms precede attention and feed-forward layers ("stable layer norm"). What they scale by is
    then part of the weights of the products that follow.

    In half precision products have rounded operands, as autocast gives them, and each result that enters two
    of them is rounded once. Norms compute in the type that they receive: blocks that normalise afterwards
    pass fp32 on, those that normalise before pass on what they are given.
    """

    def __init__(self, attention: Any, norms: tuple[nn.LayerNorm, nn.LayerNorm], *, pre_norm: bool) -> None:
        """The feed-forward layers are set by `of_wav2vec2` and `of_whisper`."""
        super().__init__()
        gated = hasattr(attention, "gru_rel_pos_linear")
        self.attention = GatedAttention(attention) if gated else FusedAttention(attention)
        self.first_norm, self.second_norm = norms
        self.pre_norm = pre_norm
        self.inner: Any  # nn.Linear, or packed
        self.outer: Any
        self.activation: Any
        self.adapter: nn.Module | None = None

    @classmethod
    def of_wav2vec2(cls, block: Any, *, pre_norm: bool) -> FusedBlock:
        """From a block of the wav2vec2 family."""
        fused = cls(block.attention, (block.layer_norm, block.final_layer_norm), pre_norm=pre_norm)
        fused.inner = block.feed_forward.intermediate_dense
        fused.outer = block.feed_forward.output_dense
        fused.activation = block.feed_forward.intermediate_act_fn
        fused.adapter = getattr(block, "adapter_layer", None)
        fused._fold_norms()
        return fused

    @classmethod
    def of_whisper(cls, block: Any) -> FusedBlock:
        """From a block of a Whisper encoder."""
        norms = block.self_attn_layer_norm, block.final_layer_norm
        fused = cls(block.self_attn, norms, pre_norm=True)
        fused.inner, fused.outer, fused.activation = block.fc1, block.fc2, block.activation_fn
        fused._fold_norms()
        return fused

    def forward(
        self, hidden: torch.Tensor, mask: torch.Tensor | None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """hidden (B, F, D) → (B, F, D). mask: as `lengths.attention_mask`. bias: as `GatedAttention.bias`."""
        dtype = self.inner.weight.dtype
        if self.pre_norm:
            hidden = hidden + self.attention(self.first_norm(hidden).to(dtype), mask, bias)
            hidden = hidden + self._feed_forward(self.second_norm(hidden).to(dtype))
            return hidden if self.adapter is None else hidden + self.adapter(hidden.to(dtype))
        hidden = self.first_norm(hidden + self.attention(hidden.to(dtype), mask, bias))
        normed: torch.Tensor = self.second_norm(hidden + self._feed_forward(hidden.to(dtype)))
        return normed

    def pack(self) -> None:
        """Replace the linear layers by packed ones, for a CPU."""
        from transformers.activations import GELUActivation  # slow to import

        attention = self.attention
        attention.products, attention.out = PackedLinear(attention.products), PackedLinear(attention.out)
        is_gelu = isinstance(self.activation, GELUActivation)
        self.inner, self.outer = PackedLinear(self.inner, gelu=is_gelu), PackedLinear(self.outer)
        self.activation = nn.Identity() if is_gelu else self.activation

    def _feed_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.outer(self.activation(self.inner(hidden)))
        return out

    def _fold_norms(self) -> None:
        if self.pre_norm:
            self.first_norm = _fold(self.first_norm, self.attention.products)
            self.second_norm = _fold(self.second_norm, self.inner)


@torch.no_grad()
def _fold(norm: nn.LayerNorm, linear: nn.Linear) -> nn.LayerNorm:
    """Move the norm's scale and shift into the linear layer after it; returns a norm without them."""
    linear.bias.add_(linear.weight @ norm.bias)
    linear.weight.mul_(norm.weight)
    return nn.LayerNorm(list(norm.normalized_shape), eps=norm.eps, elementwise_affine=False)
