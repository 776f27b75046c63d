"""A speech model with a classification head on its pooled states, trained in full or in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn

from layerprobe.classify.finetune.config import SOUND, FinetuneConfig
from layerprobe.classify.finetune.networks import open_network
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.models.layers import layer_names, layer_width


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
        available = layer_names(source.config)
        self.names = available if config.weighted_layers else available[-1:]
        network = open_network(source, config, layers=self.names)
        self.network, self.backbone = network, network.model
        self.head = _head(config, width=layer_width(source.config, self.names[-1]), classes=classes)
        self.weights = nn.Parameter(torch.zeros(len(self.names))) if config.weighted_layers else None
        if config.lora:
            _add_adapters(self.backbone, rank=config.lora, linear=network.adapted)
        if config.freeze == "cnn":
            network.freeze_front_end()
        if config.gradient_checkpointing:
            self.backbone.activation_checkpointing_enable({"use_reentrant": False})

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """waves (B, T), zero beyond lengths (B,) samples → {"logits": (B, K) float32}."""
        pooled = self.network.pooled(waves, lengths)
        states = pooled[self.names[0]] if self.weights is None else self._weighted_sum(self.weights, pooled)
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

    def _weighted_sum(self, weights: torch.Tensor, pooled: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, D): the softmax-weighted sum of the pooled layers, equal to pooling the weighted sum."""
        layers = [pooled[self.names[0]]]
        for name in self.names[1:]:  # a block that LayerDrop skipped outputs its input
            layers.append(pooled.get(name, layers[-1]))
        return torch.einsum("l,lbd->bd", weights.float().softmax(0), torch.stack(layers))


def _head(config: FinetuneConfig, *, width: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Dropout(config.dropout)]
    if config.head == "mlp":
        layers += [nn.Linear(width, width), nn.Tanh(), nn.Dropout(config.dropout)]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _add_adapters(backbone: Any, *, rank: int, linear: Sequence[str]) -> None:
    """Add low-rank adapters (LoRA, Hu et al. 2021) to every block and freeze everything else."""
    from peft import LoraConfig, inject_adapter_in_model  # slow to import, rarely needed

    target = rf"(encoder\.)?layers\.\d+\.(.*\.)?({'|'.join(linear)})"
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=target)
    inject_adapter_in_model(settings, backbone)


def classifier_settings(
    source: ModelSource, config: FinetuneConfig, classes: Sequence[str]
) -> dict[str, Any]:
    """What is needed besides the tensors to rebuild a classifier, as saved in a bundle."""
    names = ("head", "dropout", "weighted_layers", "lora", "window")
    settings = {name: getattr(config, name) for name in (*names, *SOUND)}
    return {
        "backbone": dict(source.config),
        "normalise": source.normalise,
        "classes": list(classes),
        **settings,
    }
