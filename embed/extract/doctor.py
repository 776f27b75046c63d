"""`doctor`: the promise that batches are exact, checked on a person's own model and machine in seconds."""

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
from layerprobe.embed.models.sources import find_model

LENGTHS = (MIN_SAMPLES, 7_001, 16_000, 33_333, 51_200)  # samples: from one frame to three seconds
TOLERANCE = 1e-5  # of a layer's largest value, in fp32 on a CPU
GPU_TOLERANCE = 1e-3  # a GPU may compute fp32 products in TF32


@dataclass(frozen=True, kw_only=True)
class LayerCheck:
    """Largest differences of one layer, as shares of its largest value.

    batch: padded batch against each clip alone. reference: each clip alone against transformers' own forward
    pass; None where transformers does not give that layer.
    """

    layer: str
    batch: float
    reference: float | None


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """All layers' checks, on which device, and whether every difference is within the tolerance."""

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
    """Compare batch, single clips and transformers on noise of several lengths.

    Raises InputError, also for a model whose states are not finite: there is nothing to compare.
    """
    backbone, _ = open_backbone(config)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor(LENGTHS)
    waves = torch.zeros(len(LENGTHS), padded_length(max(LENGTHS)))
    for row, length in zip(waves, LENGTHS, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    waves = waves.to(backbone.device)
    batch = layer_states(backbone, waves, lengths)
    reference = None if config.model in ACOUSTIC_PRESETS else _Reference(config, backbone.device)
    worst = {layer: [0.0, 0.0] for layer in backbone.layers}
    compared: set[str] = set()
    for i, length in enumerate(LENGTHS):
        wave = waves[i : i + 1, :length]
        alone = layer_states(backbone, wave, lengths[i : i + 1])
        theirs = reference.states(wave) if reference else {}
        for layer, states in alone.items():
            if not bool(states.isfinite().all()):
                told = f"layer {layer} has states that are not finite"
                raise InputError(told, where=config.model, do="take other weights: these are damaged")
            scale = states.abs().max().clamp_min(torch.finfo(states.dtype).tiny)
            apart = (batch[layer][i : i + 1, : states.shape[1]] - states).abs().max() / scale
            worst[layer][0] = _largest(worst[layer][0], float(apart))
            if layer in theirs:
                compared.add(layer)
                other = (theirs[layer] - states).abs().max() / scale
                worst[layer][1] = _largest(worst[layer][1], float(other))
    checks = [
        LayerCheck(layer=layer, batch=apart, reference=other if layer in compared else None)
        for layer, (apart, other) in worst.items()
    ]
    return ModelCheck(
        layers=checks,
        device=describe_device(backbone.device),
        tolerance=TOLERANCE if backbone.device.type == "cpu" else GPU_TOLERANCE,
    )


def layer_states(backbone: Backbone, waves: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every layer's states (B, F, D) of one batch, all at once: for checks, not for extraction."""
    found: dict[str, torch.Tensor] = {}

    def visit(layer: str, states: torch.Tensor, _frames: torch.Tensor) -> None:
        found[layer] = states.clone()

    backbone.run(waves, lengths, visit)
    return found


class _Reference:
    """transformers' own forward pass of a clip alone, with nothing of ours in the model."""

    def __init__(self, config: EmbedConfig, device: torch.device) -> None:
        source = find_model(config.model, revision=config.revision)
        self._model: Any = load_model(source, seed=config.seed).to(device)
        # An adapter after the encoder shortens what the model gives at last; no layer here comes after it.
        self._last = None if source.config.get("add_adapter") else layer_names(source.config)[-1]

    def states(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        """Layers that every version of transformers gives alike: all before the last block, and the last."""
        with torch.inference_mode():
            out = self._model(wave, output_hidden_states=True)
        before = {str(k): states for k, states in enumerate(out.hidden_states[:-1])}
        return before if self._last is None else {**before, self._last: out.last_hidden_state}


def _largest(*values: float) -> float:
    """NaN where there is one, which Python's own `max` may pass over."""
    return float(np.max(values))
