"""`doctor`: check on the user's own model and machine, in seconds, that batches are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.audio.sound import MIN_SAMPLES
from layerprobe.embed.checkpoints.configuration import SEW, WAV2VEC2_BERT
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import padded_length
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.device import describe_device
from layerprobe.embed.models.interface import Backbone
from layerprobe.embed.models.layers import layer_names
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.wav2vec2_bert import Wav2Vec2BertBackbone
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from layerprobe.embed.models.whisper.reference import WhisperReference

LENGTHS = (MIN_SAMPLES, 7_001, 16_000, 33_333, 51_200)  # samples: from one frame to three seconds
# Of a layer's largest value. Half precisions round every product: of the frames of whisper-tiny.en on speech,
# one was 0.02 off in fp16, and 0.2 in bf16.
TOLERANCES = {"fp32": 1e-5, "fp16": 5e-2, "bf16": 3e-1}
GPU_TOLERANCE = 1e-3  # fp32, whose products a GPU may compute in TF32
MEL_TOLERANCE = 1e-4  # fp32: transformers rounds wav2vec2-bert's log-mel features before it normalises them


@dataclass(frozen=True, kw_only=True)
class LayerCheck:
    """The largest differences in one layer, as shares of its largest value.

    batch: padded batch against each clip alone. reference: each clip alone against transformers' own forward
    pass in fp32; None for a layer that transformers does not return.
    """

    layer: str
    batch: float
    reference: float | None


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """The checks of all layers, the device, and the largest difference that is tolerated there.

    precision: what was checked. overflows: whether states overflowed in the half precision that `embed` would
    use; it computes such clips again in fp32, which was checked instead.
    """

    layers: list[LayerCheck]
    device: str
    precision: str
    overflows: bool
    tolerance: float

    @property
    def largest(self) -> float:
        return _largest(*(value for check in self.layers for value in (check.batch, check.reference or 0.0)))

    @property
    def exact(self) -> bool:
        return self.largest <= self.tolerance


def check_model(config: EmbedConfig) -> ModelCheck:
    """Compare a padded batch, single clips and transformers on noise of several lengths.

    Checks the precision that `embed` would use with this configuration. Raises InputError for a model that is
    not available or whose states are not finite.
    """
    backbone, _ = open_backbone(config)
    counts = [length for length in LENGTHS if backbone.frames(length)]
    generator = torch.Generator().manual_seed(0)
    waves = torch.zeros(len(counts), padded_length(max(counts)))
    for row, length in zip(waves, counts, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    waves, lengths = waves.to(backbone.device), torch.tensor(counts)

    def alone() -> list[dict[str, torch.Tensor]]:
        rows = zip(waves, counts, lengths, strict=True)
        return [layer_states(backbone, row[None, :count], length[None]) for row, count, length in rows]

    clips = alone()
    overflowed = _not_finite(clips)
    if overflowed is not None and backbone.precision != "fp32":
        backbone.precision = "fp32"
        clips = alone()
    damaged = _not_finite(clips)
    if damaged is not None:
        what = f"layer {damaged} has states that are not finite"
        raise InputError(what, where=config.model, do="take other weights: these are damaged")
    batch = layer_states(backbone, waves, lengths)
    reference = _open_reference(config, backbone)
    batch_difference = dict.fromkeys(backbone.layers, 0.0)
    reference_difference: dict[str, float] = {}
    for i, length in enumerate(counts):
        expected = reference.states(waves[i : i + 1, :length]) if reference else {}
        for layer, states in clips[i].items():
            difference = _difference(batch[layer][i : i + 1], states)
            batch_difference[layer] = _largest(batch_difference[layer], difference)
            if layer in expected:
                difference = _difference(expected[layer], states)
                reference_difference[layer] = _largest(reference_difference.get(layer, 0.0), difference)
    tolerance = TOLERANCES[backbone.precision]
    if backbone.precision == "fp32":
        log_mel = isinstance(backbone, Wav2Vec2BertBackbone)
        tolerance = MEL_TOLERANCE if log_mel else tolerance
        tolerance = tolerance if backbone.device.type == "cpu" else GPU_TOLERANCE
    return ModelCheck(
        layers=[
            LayerCheck(layer=layer, batch=difference, reference=reference_difference.get(layer))
            for layer, difference in batch_difference.items()
        ],
        device=describe_device(backbone.device),
        precision=backbone.precision,
        overflows=overflowed is not None,
        tolerance=tolerance,
    )


def _not_finite(clips: Sequence[dict[str, torch.Tensor]]) -> str | None:
    """The first layer with a state that is not finite."""
    return next(
        (layer for states_of in clips for layer, states in states_of.items() if not states.isfinite().all()),
        None,
    )


def _difference(states: torch.Tensor, alone: torch.Tensor) -> float:
    """The largest difference within a clip's own frames, as a share of its largest value."""
    alone = alone.float()
    scale = alone.abs().max().clamp_min(torch.finfo(alone.dtype).tiny)
    return float((states[:, : alone.shape[1]].float() - alone).abs().max() / scale)


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
    """transformers' own, unmodified model, run in fp32 on one clip at a time."""

    def __init__(self, source: ModelSource, device: torch.device, *, seed: int) -> None:
        self._model: Any = load_model(source, seed=seed).to(device)
        self._family = source.config["model_type"]
        # An adapter after the encoder shortens the model's last output, and SEW stretches it to the rate of
        # its front end: no layer here is that output.
        changed = source.config.get("add_adapter") or self._family in SEW
        self._last = None if changed else layer_names(source.config)[-1]

    def states(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        """The layers that every version of transformers returns: those before the last block, and the
        last."""
        inputs = {"input_values": wave}
        if self._family == WAV2VEC2_BERT:
            from transformers import SeamlessM4TFeatureExtractor

            extract = SeamlessM4TFeatureExtractor()
            features = extract(wave[0].cpu().numpy(), sampling_rate=RATE, return_tensors="pt")
            inputs = {name: tensor.to(wave.device) for name, tensor in features.items()}
        with torch.inference_mode():
            out = self._model(**inputs, output_hidden_states=True)
        before = {str(k): states for k, states in enumerate(out.hidden_states[:-1])}
        return before if self._last is None else {**before, self._last: out.last_hidden_state}


def _largest(*values: float) -> float:
    """NaN if any value is, which Python's own `max` may miss."""
    return float(np.max(values))
