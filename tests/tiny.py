"""Tiny models of every supported family, with random weights, saved as by `save_pretrained`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layerprobe.embed.models.presets import ARCHITECTURES

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
}
# Every architecture in which padding may leak differently: group and layer norm, post- and pre-norm blocks,
# stacked positional convolutions, relative positions.
TRAINABLE = {
    "wav2vec2-group": "wav2vec2-base",
    "wav2vec2-layer": "wav2vec2-large-layer-norm",
    "hubert-group": "hubert-base",
    "hubert-layer": "hubert-large",
    "wavlm-group": "wavlm-base",
    "wavlm-layer": "wavlm-large",
    "data2vec": "data2vec-audio-base",
    "distilhubert": "distilhubert",
    "unispeech-sat-group": "unispeech-sat-base",
    "unispeech-sat-layer": "unispeech-sat-large",
}
FAMILIES = {
    **TRAINABLE,
    "conformer-relative": "wav2vec2-conformer-relative",
    "conformer-rotary": "wav2vec2-conformer-rotary",
    "sew": "sew-small",
    "sew-d": "sew-d-mid",
    "w2v-bert": "w2v-bert",
}


def tiny_config(family: str, **changes: Any) -> dict[str, Any]:
    """A preset's architecture, shrunk."""
    full = json.loads(ARCHITECTURES.read_text())[FAMILIES[family]]
    special: dict[str, Any] = {"num_hidden_layers": 2} if family == "distilhubert" else {}
    if "squeeze_factor" in full:  # with and without a projection of the front end
        special["conv_dim"] = [16] * (len(full["conv_dim"]) - 1) + [24 if family == "sew" else 32]
    small = {name: value for name, value in SMALL.items() if name in full or "conv" not in name}
    return {**full, **small, **special, **changes}


def save_batch_normed(folder: Path, **changes: Any) -> Path:
    """A HuBERT with a batch norm before its positional convolution, with nonzero moments."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(save_tiny(folder, "hubert-group", conv_pos_batch_norm=True, **changes))
    norm = model.encoder.pos_conv_embed.batch_norm
    torch.nn.init.normal_(norm.running_mean)
    torch.nn.init.normal_(norm.bias)
    model.save_pretrained(folder)
    return folder


def save_tiny(folder: Path, family: str, *, seed: int = 0, normalise: bool = True, **changes: Any) -> Path:
    """`folder` as `save_pretrained` writes it."""
    import torch
    from transformers import (
        AutoConfig,
        AutoModel,
        SeamlessM4TFeatureExtractor,
        Wav2Vec2FeatureExtractor,
    )

    torch.manual_seed(seed)
    model = AutoModel.from_config(AutoConfig.for_model(**tiny_config(family, **changes)))
    model.save_pretrained(folder)
    if family == "w2v-bert":
        SeamlessM4TFeatureExtractor(padding_value=1).save_pretrained(folder)
    else:
        Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return folder
