"""`doctor`: check on the user's own model and machine, in seconds, that batches are exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.audio.sound import MIN_SAMPLES
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.batching import padded_length
from layerprobe.embed.models.backbones import Backbone, load_model, open_backbone
from layerprobe.embed.models.device import describe_device
from layerprobe.embed.models.layers import layer_names
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS
from layerprobe.embed.models.sources import ModelSource, find_model
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from layerprobe.embed.models.whisper.reference import WhisperReference

LENGTHS = (MIN_SAMPLES, 7_001, 16_000, 33_333, 51_200)  # samples: from one frame to three seconds
TOLERANCE = 1e-5  # of a layer's largest value, in fp32 on a CPU
GPU_TOLERANCE = 1e-3  # a GPU may compute fp32 products in TF32


@dataclass(frozen=True, kw_only=True)
class LayerCheck:
    """The largest differences in one layer, as shares of its largest value.

    batch: padded batch against each clip alone. reference: each clip alone against transformers' own forward
    pass; None for a layer that transformers does not return.
    """

    layer: str
    batch: float
    reference: float | None


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """The checks of all layers, the device, and the largest difference that is tolerated there."""

    layers: list[LayerCheck]
    device: str
    tolerance: float

    @property
    def largest(self) -> float:
        return _largest(*(value for check in self.layers for value in (check.batch, check.reference or 0.0)))

    @property
    def exact(self) -> bool:
        return self.largest <= self.tolerance


def check_model(config: EmbedConfig) -> ModelCheck:
    """Compare a padded batch, single clips and transformers on noise of several lengths.

    Raises InputError for a model that is not available or whose states are not finite.
    """
    backbone, _ = open_backbone(config)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor(LENGTHS)
    waves = torch.zeros(len(LENGTHS), padded_length(max(LENGTHS)))
    for row, length in zip(waves, LENGTHS, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    waves = waves.to(backbone.device)
    batch = layer_states(backbone, waves, lengths)
    reference = _open_reference(config, backbone)
    batch_difference = dict.fromkeys(backbone.layers, 0.0)
    reference_difference: dict[str, float] = {}
    for i, length in enumerate(LENGTHS):
        wave = waves[i : i + 1, :length]
        expected = reference.states(wave) if reference else {}
        for layer, alone in layer_states(backbone, wave, lengths[i : i + 1]).items():
            if not bool(alone.isfinite().all()):
                what = f"layer {layer} has states that are not finite"
                raise InputError(what, where=config.model, do="take other weights: these are damaged")
            scale = alone.abs().max().clamp_min(torch.finfo(alone.dtype).tiny)
            difference = float((batch[layer][i : i + 1, : alone.shape[1]] - alone).abs().max() / scale)
            batch_difference[layer] = _largest(batch_difference[layer], difference)
            if layer in expected:
                difference = float((expected[layer] - alone).abs().max() / scale)
                reference_difference[layer] = _largest(reference_difference.get(layer, 0.0), difference)
    return ModelCheck(
        layers=[
            LayerCheck(layer=layer, batch=difference, reference=reference_difference.get(layer))
            for layer, difference in batch_difference.items()
        ],
        device=describe_device(backbone.device),
        tolerance=TOLERANCE if backbone.device.type == "cpu" else GPU_TOLERANCE,
    )


def layer_states(backbone: Backbone, waves: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every layer's states (B, F, D) of one batch, all in memory at once: for checks, not for extraction.

    waves: (B, T) float32, zero beyond lengths (B,) in samples.
    """
    states_of: dict[str, torch.Tensor] = {}

    def visit(layer: str, states: torch.Tensor, _frames: torch.Tensor) -> None:
        states_of[layer] = states.clone()

    backbone.run(waves, lengths, visit)
    return states_of


def _open_reference(config: EmbedConfig, backbone: Backbone) -> _Reference | WhisperReference | None:
    """What the states of single clips are compared with; None for acoustic features."""
    if config.model in ACOUSTIC_PRESETS:
        return None
    source = find_model(config.model, revision=config.revision)
    if isinstance(backbone, WhisperBackbone):
        return WhisperReference(source, context=backbone.context, device=backbone.device, seed=config.seed)
    return _Reference(source, backbone.device, seed=config.seed)


class _Reference:
    """transformers' own, unmodified model, run on one clip at a time."""

    def __init__(self, source: ModelSource, device: torch.device, *, seed: int) -> None:
        self._model: Any = load_model(source, seed=seed).to(device)
        # An adapter after the encoder shortens the model's last output; no layer here comes after it.
        self._last = None if source.config.get("add_adapter") else layer_names(source.config)[-1]

    def states(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        """The layers that every version of transformers returns: those before the last block, and the
        last."""
        with torch.inference_mode():
            out = self._model(wave, output_hidden_states=True)
        before = {str(k): states for k, states in enumerate(out.hidden_states[:-1])}
        return before if self._last is None else {**before, self._last: out.last_hidden_state}


def _largest(*values: float) -> float:
    """NaN if any value is, which Python's own `max` may miss."""
    return float(np.max(values))
