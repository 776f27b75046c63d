"""Tiny models of every supported family, with random weights, saved as a person would have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embed.models import ARCHITECTURES

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
}
# Every layout that decides how padding could leak: group and layer norm, post- and pre-norm blocks, stacked
# positional convolutions, relative positions.
FAMILIES = {
    "wav2vec2-group": "wav2vec2-base",
    "wav2vec2-layer": "wav2vec2-large-layer-norm",
    "hubert-group": "hubert-base",
    "hubert-layer": "hubert-large",
    "wavlm-group": "wavlm-base",
    "wavlm-layer": "wavlm-large",
    "data2vec": "data2vec-audio-base",
    "distilhubert": "distilhubert",
}


def tiny_config(family: str, **changes: Any) -> dict[str, Any]:
    """A preset's architecture, shrunk."""
    full = json.loads(ARCHITECTURES.read_text())[FAMILIES[family]]
    layers = {"num_hidden_layers": 2} if family == "distilhubert" else {}
    return {**full, **SMALL, **layers, **changes}


def save_tiny(folder: Path, family: str, *, seed: int = 0, normalise: bool = True, **changes: Any) -> Path:
    """`folder` as `save_pretrained` writes it."""
    import torch
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(seed)
    model = AutoModel.from_config(AutoConfig.for_model(**tiny_config(family, **changes)))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return folder
