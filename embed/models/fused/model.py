"""A frozen model of the wav2vec2 family: front end, positions and blocks, without transformers' own loop.

That loop asks the device whether anything is masked, which waits for all work before, and casts every weight
of every batch where autocast is on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from layerprobe.embed.models.exact_batching import ExactBatch, LengthAwareGroupNorm
from layerprobe.embed.models.fused.attention import GatedAttention
from layerprobe.embed.models.fused.blocks import FusedBlock
from layerprobe.embed.models.fused.half import half_copy
from layerprobe.embed.models.fused.lengths import BatchLengths, attention_mask, is_beyond
from layerprobe.embed.models.layers import CNN, FINAL

Emit = Callable[[str, torch.Tensor], None]


class FusedModel(nn.Module):
    """wav2vec 2.0, HuBERT, WavLM, data2vec or UniSpeech-SAT, in the precision of its weights.

    A padded batch equals its clips, as `exact_batching` explains.
    """

    def __init__(self, model: Any, *, layers: Sequence[str], pre_norm: bool) -> None:
        """model: transformers' base model, whose blocks are replaced; layers: those to emit, in order."""
        super().__init__()
        self.layers, self.pre_norm = tuple(layers), pre_norm
        self.exact = ExactBatch(model)
        blocks = model.encoder.layers
        for number, block in enumerate(blocks):
            blocks[number] = FusedBlock.of_wav2vec2(block, pre_norm=pre_norm)
        self.front_end, self.projection = model.feature_extractor, model.feature_projection
        self.positions, self.norm, self.blocks = (
            model.encoder.pos_conv_embed,
            model.encoder.layer_norm,
            blocks,
        )

    def in_half(self, dtype: torch.dtype) -> FusedModel:
        """A copy whose products have operands of that type.

        Norms whose output is emitted or passed on between blocks stay in fp32.
        """
        exact: list[nn.Module] = [self.norm]
        exact += [m for m in self.modules() if isinstance(m, LengthAwareGroupNorm | nn.BatchNorm1d)]
        for block in () if self.pre_norm else self.blocks:
            exact += [block.first_norm, block.second_norm]
        return half_copy(self, dtype, exact=exact)

    def forward(self, waves: torch.Tensor, lengths: BatchLengths, emit: Emit) -> None:
        """waves (B, T) float32 → emit(layer, states (B, F, D)), one layer at a time.

        Of the layers but `cnn`, F is the frame count of the longest clip. Nothing above the last selected
        layer is computed.
        """
        self.exact.set(lengths)
        features = self.front_end(waves.to(self.projection.projection.weight.dtype)).transpose(1, 2)
        if CNN in self.layers:
            emit(CNN, features)
            if self.layers == (CNN,):
                return
        projected = self.projection(features[:, : lengths.longest])
        hidden = projected[0] if isinstance(projected, tuple) else projected
        mask = None
        if lengths.uneven:
            beyond = is_beyond(lengths.longest, lengths.frames_on_device)
            hidden = hidden.masked_fill(beyond[:, :, None], 0.0)
            mask = attention_mask(beyond, hidden.dtype)
        hidden = hidden + self.positions(hidden)
        if not self.pre_norm:
            hidden = self.norm(hidden.float())
        if "0" in self.layers:
            emit("0", hidden)
        self._run_blocks(hidden, mask, emit)

    def _run_blocks(self, hidden: torch.Tensor, mask: torch.Tensor | None, emit: Emit) -> None:
        if self.layers[-1] == "0":
            return
        first: Any = self.blocks[0]
        gated = isinstance(first.attention, GatedAttention)
        bias = first.attention.bias(hidden.shape[1]) if gated else None
        for number, block in enumerate(self.blocks, start=1):
            hidden = block(hidden, mask, bias)
            if str(number) in self.layers:
                emit(str(number), hidden)
        if FINAL in self.layers:
            emit(FINAL, self.norm(hidden.float()))
