"""A trained classifier as transformers' own `…ForSequenceClassification`, and its tensors back.

A linear head on the mean of the last layer, or of a weighted sum of all of them, is exactly that model: its
projector is the identity. Adapters (LoRA) are added to the weights that they adapt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.embed.checkpoints.configuration import WHISPER, model_settings
from layerprobe.embed.config import RATE
from layerprobe.embed.extract.in_memory import prepare_wave
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.layers import FINAL, layer_names

AGREEMENT = 1e-4  # of logits, as a share of the largest if that is above 1
HEAD = "head.1"  # the only linear layer of the head `linear`
ADAPTER = "default"  # peft's name of the only adapter


def obstacle(backbone: Mapping[str, Any], config: FinetuneConfig) -> str:
    """What transformers has no model for, or "" if it has one. backbone: the model's configuration."""
    if backbone["model_type"] == WHISPER:
        return "a Whisper encoder pooled over the clip alone: its own averages 30 s, silence included"
    if config.head != "linear":
        return f"the head {config.head}: its own is linear"
    if config.weighted_layers and FINAL in layer_names(backbone):
        return "a weighted sum with the final LayerNorm's output: its own has the blocks' outputs only"
    return ""


def open_classifier(backbone: Mapping[str, Any], labels: Sequence[str], **changes: Any) -> Any:
    """transformers' classifier for a backbone's configuration, with random weights and an identity projector.

    changes: settings that differ from the backbone's.
    """
    from transformers import AutoConfig, AutoModelForAudioClassification

    config = AutoConfig.for_model(
        **{
            **model_settings(backbone),
            "classifier_proj_size": backbone["hidden_size"],
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
            "problem_type": "single_label_classification",
            "add_adapter": False,
            **changes,
        }
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # random weights, which are replaced
        model: Any = AutoModelForAudioClassification.from_config(config).eval()
        torch.nn.init.eye_(model.projector.weight)
        model.projector.bias.zero_()
    return model


def as_transformers(trained: SpeechClassifier, backbone: Mapping[str, Any], labels: Sequence[str]) -> Any:
    """The trained model as transformers', in evaluation mode on the CPU; `obstacle` must find none."""
    weights = trained.weights
    model = open_classifier(backbone, labels, use_weighted_layer_sum=weights is not None)
    base, tensors = model.base_model, merged_tensors(trained.backbone)
    base.load_state_dict({name: tensors[name] for name in base.state_dict()})
    head = trained.head[1]
    with torch.no_grad():
        model.classifier.weight.copy_(head.weight)
        model.classifier.bias.copy_(head.bias)
        if weights is not None:
            model.layer_weights.copy_(weights)
    return model


def own_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of transformers' classifier, or of `write_encoder`, by their names in `SpeechClassifier`."""
    names = {"classifier.weight": f"{HEAD}.weight", "classifier.bias": f"{HEAD}.bias"}
    names |= {"layer_weights": "weights"}
    own = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part != "projector":  # the identity
            own[name if part == "head" else names.get(name, f"backbone.{rest}")] = tensor
    return own


def feature_extractor(*, normalise: bool) -> Any:
    """What prepares clips for the model, as `embed` does."""
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(do_normalize=normalise, sampling_rate=RATE, return_attention_mask=True)


def second_of_noise() -> np.ndarray:
    """(16000,) float32, on which two models are compared."""
    return (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


def difference(model: Any, processor: Any, expected: np.ndarray) -> float:
    """By how much the logits of transformers' model differ from the `expected` (K,) of `second_of_noise`.

    0 if that is within rounding, `AGREEMENT`.
    """
    inputs = processor(second_of_noise(), sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits[0].numpy()
    found = float(np.abs(logits - expected).max())
    return 0.0 if found <= AGREEMENT * max(1.0, float(np.abs(expected).max())) else found


def logits_of(trained: SpeechClassifier, *, normalise: bool) -> np.ndarray:
    """(K,) logits of `second_of_noise`, in single precision on the model's device."""
    wave = prepare_wave(second_of_noise(), RATE, Clip(id="noise", file=""), normalise=normalise)
    device = next(trained.parameters()).device
    waves = torch.from_numpy(wave)[None].to(device)
    was_training = trained.training
    with torch.inference_mode():
        logits = trained.eval()(waves, torch.tensor([RATE], device=device))["logits"]
    trained.train(was_training)
    return np.asarray(logits[0].cpu().numpy())


def write_model(model: Any, processor: Any, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json. Raises OSError."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def merged_tensors(backbone: Any) -> dict[str, torch.Tensor]:
    """The tensors of a backbone on the CPU, with its adapters added to the weights that they adapt."""
    tensors = {name: tensor.detach().cpu() for name, tensor in backbone.state_dict().items()}
    plain = {
        name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items() if ".lora_" not in name
    }
    for name, module in backbone.named_modules():
        if hasattr(module, "get_delta_weight"):
            weight = f"{name}.weight"
            plain[weight] = plain[weight] + module.get_delta_weight(ADAPTER).detach().cpu()
    return plain
