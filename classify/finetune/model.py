"""A speech model with a classification head on its pooled states, trained as a whole or in part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.embed.models.backbones import load_model
from layerprobe.embed.models.exact_batching import ExactBatch
from layerprobe.embed.models.layers import FINAL, frame_count, layer_names
from layerprobe.embed.models.sources import ModelSource

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
# WavLM hands the weights of its projections to torch's attention itself, past any adapter around them.
FEED_FORWARD = ("intermediate_dense", "output_dense")


class SpeechClassifier(nn.Module):
    """Waves of clips → logits; a padded batch gives each clip the logits it has alone.

    The mean over a clip's own frames of the last layer (`final` where there is one), or of a learnt softmax
    sum of all layers as `embed.models.layers` numbers them, goes through the head.
    """

    accepts_loss_kwargs = True  # to transformers' Trainer: the loss is divided by all clips of a step

    def __init__(self, source: ModelSource, config: FinetuneConfig, *, classes: int) -> None:
        """Load the weights and draw the head's; `config.seed` decides both. Raises ModelError."""
        super().__init__()
        torch.manual_seed(config.seed)
        settings = dict(source.config)
        self.frames = partial(frame_count, settings)
        self.backbone = load_model(source, seed=config.seed)
        self.head = _head(config, width=settings["hidden_size"], classes=classes)
        self.names = layer_names(settings)
        self.weights = nn.Parameter(torch.zeros(len(self.names))) if config.weighted_layers else None
        self.backbone.requires_grad_(True)
        # data2vec's configuration does not name the switch that its model looks for.
        told = getattr(self.backbone.config, "apply_spec_augment", True)
        self.backbone.config.apply_spec_augment = told and config.spec_augment
        if config.lora:
            _adapt(self.backbone, rank=config.lora, family=settings["model_type"])
        if config.freeze == "cnn":
            self.backbone.feature_extractor._freeze_parameters()
        if config.gradient_checkpointing:
            self.backbone.activation_checkpointing_enable({"use_reentrant": False})
        self._exact = ExactBatch(self.backbone)
        self._counts: torch.Tensor | None = None  # (B,) frames of the clips in hand, while layers are pooled
        self._pooled: dict[str, torch.Tensor] = {}
        if config.weighted_layers:
            self._place_hooks()

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """waves (B, T), zero beyond lengths (B,) samples → {"logits": (B, K) float32}."""
        counts = torch.tensor([self.frames(n) for n in lengths.tolist()], device=waves.device)
        padded = bool((lengths < waves.shape[1]).any())
        inside = torch.arange(waves.shape[1], device=waves.device) < lengths[:, None]
        # Kept until the next call: with gradient checkpointing the backward pass runs parts of this again.
        self._exact.set(lengths if padded else None, counts if padded else None)
        self._counts, self._pooled = counts, {}
        augment = self.backbone.config.apply_spec_augment
        try:
            # A batch of clips that are all shorter than one masked span cannot be masked.
            long_enough = int(counts.max()) >= self.backbone.config.mask_time_length
            self.backbone.config.apply_spec_augment = augment and long_enough
            last = self.backbone(waves, attention_mask=inside if padded else None).last_hidden_state
            states = masked_mean(last, counts) if self.weights is None else self._weighted_sum()
        finally:
            self.backbone.config.apply_spec_augment = augment
            self._counts, self._pooled = None, {}
        return {"logits": self.head(states).float()}

    def train(self, mode: bool = True) -> Self:
        """As torch's; a batch norm keeps the moments it came with, for those of a batch take in padding."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def trained_parameters(self) -> int:
        """How many numbers training may change."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def _weighted_sum(self) -> torch.Tensor:
        """(B, D): layers weighted by the softmax of `weights`; pooled first, which comes to the same."""
        layers = [self._pooled[self.names[0]]]
        for name in self.names[1:]:  # a block that LayerDrop skipped gives what entered it
            layers.append(self._pooled.get(name, layers[-1]))
        assert self.weights is not None  # for the type checker: this is called only where there are some
        return torch.einsum("l,lbd->bd", self.weights.float().softmax(0), torch.stack(layers))

    def _place_hooks(self) -> None:
        encoder = self.backbone.encoder
        encoder.dropout.register_forward_hook(self._after("0"))  # what enters the first block
        for number, block in enumerate(encoder.layers, start=1):
            block.register_forward_hook(self._after(str(number)))
        if FINAL in self.names:
            encoder.layer_norm.register_forward_hook(self._after(FINAL))

    def _after(self, layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if self._counts is not None:
                states = output[0] if isinstance(output, tuple) else output
                self._pooled[layer] = masked_mean(states, self._counts)

        return hook


def masked_mean(states: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """(B, F, D) → (B, D) float32: the mean over each clip's own `counts` (B,) frames; no other is read."""
    inside = torch.arange(states.shape[1], device=states.device) < counts[:, None]
    return states.float().masked_fill(~inside[:, :, None], 0.0).sum(1) / counts[:, None]


def _head(config: FinetuneConfig, *, width: int, classes: int) -> nn.Sequential:
    if config.head == "linear":
        return nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, classes))
    return nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Dropout(config.dropout),
        nn.Linear(width, classes),
    )


def _adapt(backbone: Any, *, rank: int, family: str) -> None:
    """Low-rank adapters (Hu et al. 2021) in every block; all else is frozen."""
    from peft import LoraConfig, inject_adapter_in_model  # slow to import, and seldom asked for

    linear = FEED_FORWARD if family == "wavlm" else (*ATTENTION, *FEED_FORWARD)
    target = rf"encoder\.layers\.\d+\..*\.({'|'.join(linear)})"
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=target)
    inject_adapter_in_model(settings, backbone)


def description(source: ModelSource, config: FinetuneConfig, classes: Sequence[str]) -> dict[str, Any]:
    """What must be known beside the tensors to build a classifier again."""
    own = {name: getattr(config, name) for name in ("head", "dropout", "weighted_layers", "lora", "window")}
    return {"backbone": dict(source.config), "normalise": source.normalise, "classes": list(classes), **own}
