"""Networks that fine-tuning trains, one class per kind: padded waveforms → each layer's mean over a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.embed.checkpoints.configuration import WHISPER
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.models.exact_batching import ExactBatch
from layerprobe.embed.models.fused.lengths import BatchLengths, is_beyond
from layerprobe.embed.models.layers import FINAL, frame_count, layer_names
from layerprobe.embed.models.whisper import settings as whisper
from layerprobe.embed.models.whisper.context import Context, find_context
from layerprobe.embed.models.whisper.encoder import ExactEncoder
from layerprobe.embed.models.whisper.weights import load_encoder

# Families whose states can be pooled here and whose blocks can be adapted, by transformers' model_type.
WAV2VEC2_TRAINABLE = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat")
TRAINABLE = (*WAV2VEC2_TRAINABLE, WHISPER)
ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


class Network(Protocol):
    """A network in training.

    model: the module of transformers with its parameters. blocks: its transformer blocks. adapted: names of
    a block's linear layers that low-rank adapters extend.
    """

    model: Any
    blocks: Sequence[nn.Module]
    adapted: tuple[str, ...]

    def pooled(self, waves: torch.Tensor, lengths: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """waves (B, T), zero beyond lengths (B,) → layer: (B, D) float32, the mean over a clip's own frames.

        Blocks that LayerDrop skipped are missing.
        """
        ...

    def freeze_front_end(self) -> None:
        """Train no convolution of the front end."""
        ...


def open_network(source: ModelSource, config: FinetuneConfig, *, layers: Sequence[str]) -> Network:
    """The source's network with its weights, all of them trainable. layers: those to pool.

    Raises ModelError if the weights cannot be loaded, and InputError for windows that it cannot process.
    """
    if source.config["model_type"] == WHISPER:
        return WhisperNetwork(source, config, layers=layers)
    return Wav2Vec2Network(source, config, layers=layers)


class Wav2Vec2Network:
    """A model of the wav2vec2 family."""

    def __init__(self, source: ModelSource, config: FinetuneConfig, *, layers: Sequence[str]) -> None:
        self.frames = partial(frame_count, dict(source.config))
        self.model = load_model(source, seed=config.seed)
        self.model.requires_grad_(True)
        self.blocks: Sequence[nn.Module] = self.model.encoder.layers
        feed_forward = ("intermediate_dense", "output_dense")
        # WavLM passes its projection weights to torch's attention directly, which would bypass adapters.
        wavlm = source.config["model_type"] == "wavlm"
        self.adapted: tuple[str, ...] = feed_forward if wavlm else (*ATTENTION, *feed_forward)
        # data2vec's configuration lacks the switch that its model reads.
        spec_augment = getattr(self.model.config, "apply_spec_augment", True)
        self.model.config.apply_spec_augment = spec_augment and config.spec_augment
        self.exact = ExactBatch(self.model)
        self._last_only = list(layers) == [layer_names(source.config)[-1]]
        self._last = layers[-1]
        self._counts: torch.Tensor | None = None  # (B,) frames of each clip, during a forward pass
        self._pooled: dict[str, torch.Tensor] = {}
        if not self._last_only:
            self._register_hooks(layers)

    def freeze_front_end(self) -> None:
        self.model.feature_extractor._freeze_parameters()

    def pooled(self, waves: torch.Tensor, lengths: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """As `Network.pooled`."""
        samples = lengths.tolist()
        own = BatchLengths(samples, [self.frames(n) for n in samples], waves.device)
        counts, padded = own.frames_on_device, min(samples) < waves.shape[1]
        inside = ~is_beyond(waves.shape[1], own.samples_on_device)
        # Set until the next call: with gradient checkpointing the backward pass repeats parts of this one.
        self.exact.set(own if padded else None)
        self._counts, self._pooled = counts, {}
        augment = self.model.config.apply_spec_augment
        try:
            # Masking fails for a batch whose clips are all shorter than one masked span.
            long_enough = own.longest >= self.model.config.mask_time_length
            self.model.config.apply_spec_augment = augment and long_enough
            last = self.model(waves, attention_mask=inside if padded else None).last_hidden_state
            pooled = {self._last: masked_mean(last, counts)} if self._last_only else self._pooled
            if augment and self.model.training and not long_enough:
                _touch_mask(self.model, pooled)
            return pooled
        finally:
            self.model.config.apply_spec_augment = augment
            self._counts, self._pooled = None, {}

    def _register_hooks(self, layers: Sequence[str]) -> None:
        encoder = self.model.encoder
        modules = {"0": encoder.dropout, FINAL: getattr(encoder, "layer_norm", None)}  # 0: the first input
        modules |= {str(number): block for number, block in enumerate(encoder.layers, start=1)}
        for layer in layers:
            modules[layer].register_forward_hook(partial(self._pool, layer))

    def _pool(self, layer: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if self._counts is not None:
            states = output[0] if isinstance(output, tuple) else output
            self._pooled[layer] = masked_mean(states, self._counts)


class WhisperNetwork:
    """The encoder of a Whisper model, which receives a clip and the silence after it as `embed` does.

    Its positions are fixed sinusoids and stay as they are; SpecAugment is not part of its configuration.
    """

    adapted: tuple[str, ...] = (*ATTENTION, "fc1", "fc2")

    def __init__(self, source: ModelSource, config: FinetuneConfig, *, layers: Sequence[str]) -> None:
        self._context = _whisper_context(source, config)
        self.model = load_encoder(source, seed=config.seed)
        self.model.requires_grad_(True)
        self.model.embed_positions.requires_grad_(False)
        self.blocks: Sequence[nn.Module] = self.model.layers
        self._layers = layers
        self._encoder: ExactEncoder | None = None

    def freeze_front_end(self) -> None:
        self.model.conv1.requires_grad_(False)
        self.model.conv2.requires_grad_(False)

    def pooled(self, waves: torch.Tensor, lengths: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """As `Network.pooled`."""
        if self._encoder is None:  # the model is on its device by now
            self._encoder = ExactEncoder(
                self.model, context=self._context, layers=self._layers, device=waves.device
            )
        encoder = self._encoder
        samples = lengths.tolist()
        counts = torch.tensor([whisper.frame_count(n) for n in samples], device=waves.device)
        pooled: dict[str, torch.Tensor] = {}

        def pool(layer: str, states: torch.Tensor) -> None:
            pooled[layer] = masked_mean(states, counts)

        with torch.autocast(waves.device.type, enabled=False):  # powers of a spectrum overflow in fp16
            spectrum, steps = encoder.spectrum(waves, samples)
        encoder.encode(spectrum, steps, samples, pool)
        return pooled


def _touch_mask(model: Any, pooled: dict[str, torch.Tensor]) -> None:
    """Give the vector of masked frames a gradient of zero, as if it masked none.

    Under FSDP, the same parameters must have gradients in all processes.
    """
    if model.config.mask_time_prob > 0:
        layer = next(iter(pooled))
        pooled[layer] = pooled[layer] + 0.0 * model.masked_spec_embed.sum()


def masked_mean(states: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """(B, F, D) → (B, D) float32: the mean over the first `counts` (B,) frames; others are never read."""
    inside = torch.arange(states.shape[1], device=states.device) < counts[:, None]
    return states.float().masked_fill(~inside[:, :, None], 0.0).sum(1) / counts[:, None]


def check_trainable(source: ModelSource, config: FinetuneConfig) -> None:
    """Raise InputError for a model of another family, and for windows that the model cannot process."""
    family = source.config["model_type"]
    if family not in TRAINABLE:
        what = f"{source.name} is of type {family}, which cannot be fine-tuned here"
        raise InputError(what, do=f"choose one of {', '.join(TRAINABLE)}, or probe it with classify")
    if family == WHISPER:
        _whisper_context(source, config)


def _whisper_context(source: ModelSource, config: FinetuneConfig) -> Context:
    """The context that `embed` gives to clips of this model. Raises InputError for windows beyond it."""
    options = EmbedConfig(model=source.name, window=config.window)
    return find_context(options, positions=source.config["max_source_positions"])
