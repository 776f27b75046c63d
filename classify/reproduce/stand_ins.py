"""Small stand-ins for corpora and weights that are not at hand: everything can be tried, nothing measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor
from transformers.utils import logging

from layerprobe.embed.manifest.synthetic import make_corpus, make_eyase
from layerprobe.embed.models.presets import ARCHITECTURES, PRESETS, canonical_name

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def make_corpora(folder: Path) -> Path:
    """`folder/baved` and `folder/eyase`: a few synthetic voices in each corpus's layout. Returns `folder`."""
    make_corpus(folder / "baved", speakers=5, words=1)
    make_eyase(folder / "eyase", speakers=3, takes=2)
    return folder


def make_weights(folder: Path, hub_ids: Sequence[str]) -> Path:
    """`folder/OWNER/NAME` as `save_pretrained` writes it, of each model's own kind, but tiny and random.

    hub_ids: of models that have a preset. What is there already is left. Returns `folder`.
    """
    known = json.loads(ARCHITECTURES.read_text())
    logging.disable_progress_bar()  # it would tell of files that are written at once
    for seed, hub_id in enumerate(hub_ids):
        into = folder / hub_id
        if (into / "preprocessor_config.json").is_file():  # written last
            continue
        architecture = known[PRESETS[canonical_name(hub_id)].architecture]
        torch.manual_seed(seed)
        AutoModel.from_config(AutoConfig.for_model(**{**architecture, **SMALL})).save_pretrained(into)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(into)
    logging.enable_progress_bar()
    return folder
