"""Exact batching: a padded batch gives each clip the states it has alone.

In the wav2vec2 family, padding can affect a clip's own frames in five places:

- attention: closed by an attention mask whenever lengths differ;
- the first GroupNorm of models with `feat_extract_norm="group"`: its mean and variance run over time, so
  padding shifts every frame. `LengthAwareGroupNorm` computes them over each clip's own frames;
- data2vec's stacked positional convolutions: the LayerNorm between them turns zero padding into nonzero
  values, which the next convolution mixes in. Padding is zeroed before each of them;
- the batch norm before the positional convolution of models with `conv_pos_batch_norm` (mHuBERT): it makes
  zero padding nonzero too, and padding is zeroed after it;
- the depthwise convolution in each block of a Conformer, which no mask reaches: padding is zeroed before it.

The convolutional front end has no padding of its own, so a clip's frames depend on its own samples only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import batch_norm

from layerprobe.embed.models.fused.lengths import BatchLengths, is_beyond
from layerprobe.embed.models.fused.moments import TailMask, clip_moments, merge_moments


class LengthAwareGroupNorm(nn.Module):
    """GroupNorm with one group per channel, over each clip's own frames only.

    frames: each clip's count, set by `ExactBatch`; None means nothing is padded.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.frames: list[int] | None = None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden (B, C, F) → (B, C, F); frames beyond a clip's own are scaled like it and have no meaning.

        Overwrites `hidden` when gradients are disabled: it is the largest tensor of a forward pass.
        """
        if hidden.device.type != "cpu" and not torch.is_grad_enabled():
            return self.apply_launched(hidden, *self.moments_launched(hidden))
        states = hidden.float()
        mean, variance = self._moments(states)
        scale = torch.rsqrt(variance + self.eps) * self.weight.float()
        shift = self.bias.float() - mean * scale
        if torch.is_grad_enabled():
            return torch.addcmul(shift[:, :, None], states, scale[:, :, None]).to(hidden.dtype)
        return states.mul_(scale[:, :, None]).add_(shift[:, :, None]).to(hidden.dtype)

    def _moments(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and population variance (B, C) over each clip's frames."""
        if states.device.type != "cpu":
            return self.moments_launched(states)
        # Slices cost nothing here, and give exactly what the clip alone gives.
        pairs = [
            _clip_moments(clip[:, :count]) for clip, count in zip(states, self._counts(states), strict=True)
        ]
        means, variances = zip(*pairs, strict=True)
        return torch.stack(means), torch.stack(variances)

    def moments_launched(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and population variance (B, C) float32, as on a GPU, where the number of operations counts."""
        counts = torch.tensor(self._counts(hidden))
        tail = TailMask(counts, hidden.shape[-1], device=hidden.device)
        mean, variance = merge_moments([clip_moments(hidden, tail)], tail)
        return mean[0], variance[0]

    def apply_launched(
        self, hidden: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
    ) -> torch.Tensor:
        """Normalise hidden (B, C, F) by moments (B, C) in one operation: a batch norm of B * C channels."""
        clips, channels, frames = hidden.shape
        normed = batch_norm(
            hidden.reshape(1, clips * channels, frames),
            mean.flatten(),
            variance.flatten(),
            self.weight.float().repeat(clips),
            self.bias.float().repeat(clips),
            eps=self.eps,
        )
        return normed.view(clips, channels, frames)

    def _counts(self, hidden: torch.Tensor) -> list[int]:
        return [hidden.shape[-1]] * len(hidden) if self.frames is None else self.frames


def _clip_moments(clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and population variance (C,) of (C, F), from plain sums: ten times as fast as `var_mean`.

    The mean of squares minus the squared mean loses digits where a channel's mean is far larger than its
    spread, as with a DC offset in the recording; the deviations are squared instead in that case.
    """
    count = clip.shape[-1]
    mean = clip.sum(-1) / count
    variance = torch.linalg.vector_norm(clip, dim=-1).square() / count - mean.square()
    if bool((mean.square() > 4 * variance).any()):
        variance = torch.linalg.vector_norm(clip - mean[:, None], dim=-1).square() / count
    return mean, variance


class ExactBatch:
    """Modifies a model of the wav2vec2 family so that a padded batch equals its clips.

    model: transformers' base model, with a convolutional front end (`Wav2Vec2Model`, `HubertModel`,
    `SEWModel`, …); its modules are changed in place.
    """

    def __init__(self, model: Any) -> None:
        first = model.feature_extractor.conv_layers[0]
        self._norm: LengthAwareGroupNorm | None = None
        if isinstance(first.layer_norm, nn.GroupNorm):
            self._norm = LengthAwareGroupNorm(first.layer_norm)
            first.layer_norm = self._norm
        self._conv = first.conv
        self._lengths: BatchLengths | None = None
        conformer = [m.depthwise_conv for m in model.encoder.modules() if hasattr(m, "depthwise_conv")]
        for convolution in [*_convolutions_after_norm(model.encoder.pos_conv_embed), *conformer]:
            convolution.register_forward_pre_hook(self._zero_padding)

    def set(self, lengths: BatchLengths | None) -> None:
        """Treat the next batches as clips of these lengths; None: nothing is padded.

        Applies until the next call, because gradient checkpointing recomputes the forward pass in the
        backward pass.
        """
        self._lengths = lengths
        if self._norm is not None:
            kernel, stride = self._conv.kernel_size[0], self._conv.stride[0]
            counts = lengths and [(n - kernel) // stride + 1 for n in lengths.samples]
            self._norm.frames = counts or None

    def _zero_padding(
        self, _layer: nn.Module, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...] | None:
        """Set padded frames of hidden (B, D, F) to zero, like the convolution's own padding."""
        hidden, *rest = inputs
        if self._lengths is None or min(self._lengths.frames) >= hidden.shape[-1]:
            return None
        beyond = is_beyond(hidden.shape[-1], self._lengths.frames_on_device)
        return (hidden.masked_fill(beyond[:, None], 0.0), *rest)


def _convolutions_after_norm(positions: Any) -> list[nn.Module]:
    """Convolutions of a positional embedding whose input has nonzero padding: a norm precedes them."""
    stacked = getattr(positions, "layers", None)
    if stacked is not None:
        return list(stacked)
    return [positions.conv] if getattr(positions, "batch_norm", None) is not None else []
