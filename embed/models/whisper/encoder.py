"""The forward pass of a Whisper encoder over a padded batch, equal to one clip at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import gelu

from layerprobe.embed.models.device import to_device
from layerprobe.embed.models.fused.blocks import FusedBlock
from layerprobe.embed.models.fused.lengths import attention_mask, is_beyond
from layerprobe.embed.models.layers import CNN, FINAL
from layerprobe.embed.models.whisper.context import Context
from layerprobe.embed.models.whisper.log_mel import LogMel
from layerprobe.embed.models.whisper.settings import frame_count

# emit(layer, states (B, F, D)): F is the largest number of own frames; states beyond a clip's are undefined
Emit = Callable[[str, torch.Tensor], None]


class ExactEncoder:
    """A Whisper encoder on clips with silence after them (see `context`).

    Padding cannot affect a clip: its spectrum has its own range, what is beyond a clip and its silence is
    zero before each convolution, as the convolutions pad, and attention is masked.
    """

    def __init__(
        self, encoder: Any, *, context: Context, layers: Sequence[str], device: torch.device
    ) -> None:
        """encoder: transformers' WhisperEncoder; the same module in each call, so it may be trained.

        layers: those to emit, in the order in which they are computed.
        """
        self.encoder, self.context, self.layers = encoder, context, tuple(layers)
        self._fused = any(isinstance(block, FusedBlock) for block in encoder.layers)
        self._log_mel = LogMel(encoder.config.num_mel_bins, device=device)

    def spectrum(self, waves: torch.Tensor, samples: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
        """waves (B, T) float32, zero beyond each clip's samples → as `LogMel`."""
        return self._log_mel(waves, samples, [self.context.samples(n) for n in samples])

    def encode(
        self, spectrum: torch.Tensor, steps: Sequence[int], samples: Sequence[int], emit: Emit
    ) -> None:
        """spectrum (B, mels, M), zero beyond its steps, of clips with so many samples → their layers."""
        encoder = self.encoder
        dtype = encoder.conv1.weight.dtype
        longest = max(frame_count(n) for n in samples)
        hidden = gelu(encoder.conv1(spectrum.to(dtype)))
        uneven = min(steps) < hidden.shape[2]
        if uneven:
            hidden = hidden.masked_fill(_beyond(hidden.shape[2], steps, hidden.device)[:, None], 0.0)
        hidden = gelu(encoder.conv2(hidden)).transpose(1, 2)
        mask = None
        if uneven:
            beyond = _beyond(hidden.shape[1], [(n + 1) // 2 for n in steps], hidden.device)
            mask = attention_mask(beyond, dtype) if self._fused else ~beyond[:, None, None]
        if CNN in self.layers:
            emit(CNN, hidden[:, :longest])
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        if "0" in self.layers:
            emit("0", hidden[:, :longest])
        for k, block in enumerate(encoder.layers, start=1):
            hidden = block(hidden, mask)
            if str(k) in self.layers:
                emit(str(k), hidden[:, :longest])
        if FINAL in self.layers:
            emit(FINAL, encoder.layer_norm(hidden[:, :longest]))


def _beyond(length: int, counts: Sequence[int], device: torch.device) -> torch.Tensor:
    """(B, length): which positions are not among each clip's first counts."""
    return is_beyond(length, to_device(torch.tensor(counts), device))
