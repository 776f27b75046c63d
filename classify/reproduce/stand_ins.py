"""Small stand-ins for corpora and weights: they exercise every step; their scores mean nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor
from transformers.utils import logging

from layerprobe.embed.manifest.synthetic import make_corpus, make_eyase
from layerprobe.embed.models.presets import ARCHITECTURES, PRESETS, canonical_name

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def make_corpora(folder: Path) -> Path:
    """Write `folder/baved` and `folder/eyase`: a few synthetic voices in each layout. Returns `folder`."""
    make_corpus(folder / "baved", speakers=5, words=1)
    make_eyase(folder / "eyase", speakers=3, takes=2)
    return folder


def make_weights(folder: Path, hub_ids: Sequence[str]) -> Path:
    """Write `folder/OWNER/NAME` for each model: its own architecture, but tiny and random. Returns `folder`.

    hub_ids: models that have a preset. Existing weights are left alone.
    """
    architectures = json.loads(ARCHITECTURES.read_text())
    logging.disable_progress_bar()  # the files are written within milliseconds
    for seed, hub_id in enumerate(hub_ids):
        target = folder / hub_id
        if (target / "preprocessor_config.json").is_file():  # written last
            continue
        architecture = architectures[PRESETS[canonical_name(hub_id)].architecture]
        torch.manual_seed(seed)
        AutoModel.from_config(AutoConfig.for_model(**{**architecture, **TINY})).save_pretrained(target)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(target)
    logging.enable_progress_bar()
    return folder
