"""A speech model with a classification head on its pooled states, trained in full or in part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.models.exact_batching import ExactBatch
from layerprobe.embed.models.layers import FINAL, frame_count, layer_names

# Families whose states this classifier can pool and whose blocks it can adapt, by transformers' model_type.
TRAINABLE = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat")
ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
# WavLM passes its projection weights to torch's attention directly, which would bypass adapters around them.
FEED_FORWARD = ("intermediate_dense", "output_dense")


class SpeechClassifier(nn.Module):
    """Waveforms → logits; in a padded batch each clip has the logits that it has alone.

    The head receives the mean over a clip's own frames, of the last layer (`final` where there is one) or of
    a learnt softmax-weighted sum of all layers, numbered as in `embed.models.layers`.
    """

    accepts_loss_kwargs = True  # tells transformers' Trainer to pass the number of clips in a step

    def __init__(self, source: ModelSource, config: FinetuneConfig, *, classes: int) -> None:
        """Load the backbone and initialise the head from `config.seed`. Raises ModelError."""
        super().__init__()
        torch.manual_seed(config.seed)
        settings = dict(source.config)
        self.frames = partial(frame_count, settings)
        self.backbone = load_model(source, seed=config.seed)
        self.head = _head(config, width=settings["hidden_size"], classes=classes)
        self.names = layer_names(settings)
        self.weights = nn.Parameter(torch.zeros(len(self.names))) if config.weighted_layers else None
        self.backbone.requires_grad_(True)
        # data2vec's configuration lacks the switch that its model reads.
        spec_augment = getattr(self.backbone.config, "apply_spec_augment", True)
        self.backbone.config.apply_spec_augment = spec_augment and config.spec_augment
        if config.lora:
            _add_adapters(self.backbone, rank=config.lora, family=settings["model_type"])
        if config.freeze == "cnn":
            self.backbone.feature_extractor._freeze_parameters()
        if config.gradient_checkpointing:
            self.backbone.activation_checkpointing_enable({"use_reentrant": False})
        self._exact = ExactBatch(self.backbone)
        self._counts: torch.Tensor | None = None  # (B,) frames of each clip, during a forward pass
        self._pooled: dict[str, torch.Tensor] = {}
        if config.weighted_layers:
            self._register_hooks()

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """waves (B, T), zero beyond lengths (B,) samples → {"logits": (B, K) float32}."""
        counts = torch.tensor([self.frames(n) for n in lengths.tolist()], device=waves.device)
        padded = bool((lengths < waves.shape[1]).any())
        inside = torch.arange(waves.shape[1], device=waves.device) < lengths[:, None]
        # Set until the next call: with gradient checkpointing the backward pass repeats parts of this one.
        self._exact.set(lengths if padded else None, counts if padded else None)
        self._counts, self._pooled = counts, {}
        augment = self.backbone.config.apply_spec_augment
        try:
            # Masking fails for a batch whose clips are all shorter than one masked span.
            long_enough = int(counts.max()) >= self.backbone.config.mask_time_length
            self.backbone.config.apply_spec_augment = augment and long_enough
            last = self.backbone(waves, attention_mask=inside if padded else None).last_hidden_state
            states = masked_mean(last, counts) if self.weights is None else self._weighted_sum(self.weights)
        finally:
            self.backbone.config.apply_spec_augment = augment
            self._counts, self._pooled = None, {}
        return {"logits": self.head(states).float()}

    def train(self, mode: bool = True) -> Self:
        """As in torch, but batch norms keep their stored moments: those of a batch would include padding."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def trained_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def _weighted_sum(self, weights: torch.Tensor) -> torch.Tensor:
        """(B, D): the softmax-weighted sum of the pooled layers, equal to pooling the weighted sum."""
        layers = [self._pooled[self.names[0]]]
        for name in self.names[1:]:  # a block that LayerDrop skipped outputs its input
            layers.append(self._pooled.get(name, layers[-1]))
        return torch.einsum("l,lbd->bd", weights.float().softmax(0), torch.stack(layers))

    def _register_hooks(self) -> None:
        encoder = self.backbone.encoder
        encoder.dropout.register_forward_hook(self._pooling_hook("0"))  # the first block's input
        for number, block in enumerate(encoder.layers, start=1):
            block.register_forward_hook(self._pooling_hook(str(number)))
        if FINAL in self.names:
            encoder.layer_norm.register_forward_hook(self._pooling_hook(FINAL))

    def _pooling_hook(self, layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if self._counts is not None:
                states = output[0] if isinstance(output, tuple) else output
                self._pooled[layer] = masked_mean(states, self._counts)

        return hook


def masked_mean(states: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """(B, F, D) → (B, D) float32: the mean over the first `counts` (B,) frames; others are never read."""
    inside = torch.arange(states.shape[1], device=states.device) < counts[:, None]
    return states.float().masked_fill(~inside[:, :, None], 0.0).sum(1) / counts[:, None]


def _head(config: FinetuneConfig, *, width: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Dropout(config.dropout)]
    if config.head == "mlp":
        layers += [nn.Linear(width, width), nn.Tanh(), nn.Dropout(config.dropout)]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _add_adapters(backbone: Any, *, rank: int, family: str) -> None:
    """Add low-rank adapters (LoRA, Hu et al. 2021) to every block and freeze everything else."""
    from peft import LoraConfig, inject_adapter_in_model  # slow to import, rarely needed

    linear = FEED_FORWARD if family == "wavlm" else (*ATTENTION, *FEED_FORWARD)
    target = rf"encoder\.layers\.\d+\..*\.({'|'.join(linear)})"
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=target)
    inject_adapter_in_model(settings, backbone)


def classifier_settings(
    source: ModelSource, config: FinetuneConfig, classes: Sequence[str]
) -> dict[str, Any]:
    """What is needed besides the tensors to rebuild a classifier, as saved in a bundle."""
    names = ("head", "dropout", "weighted_layers", "lora", "window")
    settings = {name: getattr(config, name) for name in names}
    return {
        "backbone": dict(source.config),
        "normalise": source.normalise,
        "classes": list(classes),
        **settings,
    }
