"""A trained classifier that transformers has no model for, in files of which `embed` reads the encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from layerprobe.classify.finetune.checkpoints import WEIGHTS
from layerprobe.classify.finetune.model import SpeechClassifier
from layerprobe.classify.finetune.saving.transformers_model import feature_extractor, merged_tensors
from layerprobe.embed.checkpoints.configuration import CONFIG, WHISPER
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.config import RATE

ENCODER = "encoder"  # where WhisperModel has its encoder


def write_encoder(trained: SpeechClassifier, source: ModelSource, folder: Path) -> None:
    """Write config.json, preprocessor_config.json and model.safetensors. Raises OSError.

    The encoder's tensors have transformers' names, as in a checkpoint of the base model, with adapters added
    to the weights that they adapt; those of the head and of the layers' weights have ours.
    """
    whisper = source.config["model_type"] == WHISPER
    prefix = ENCODER if whisper else trained.backbone.base_model_prefix
    tensors = {
        f"{prefix}.{name}": tensor.contiguous() for name, tensor in merged_tensors(trained.backbone).items()
    }
    for name, tensor in trained.state_dict().items():
        if not name.startswith("backbone."):
            tensors[{"weights": "layer_weights"}.get(name, name)] = tensor.detach().cpu().contiguous()
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(dict(source.config), indent=2) + "\n", encoding="utf-8")
    extractor = _whisper_extractor(source) if whisper else feature_extractor(normalise=source.normalise)
    extractor.save_pretrained(folder)


def _whisper_extractor(source: ModelSource) -> Any:
    from transformers import WhisperFeatureExtractor

    bins = source.config["num_mel_bins"]
    return WhisperFeatureExtractor(feature_size=bins, sampling_rate=RATE, do_normalize=source.normalise)
