"""Save the model of a fold as a bundle, for `predict`, and for transformers where it can run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.model import SpeechClassifier, classifier_settings
from layerprobe.classify.finetune.saving.card import model_card
from layerprobe.classify.finetune.saving.encoder import write_encoder
from layerprobe.classify.finetune.saving.transformers_model import (
    as_transformers,
    difference,
    feature_extractor,
    logits_of,
    obstacle,
    write_model,
)
from layerprobe.classify.runs.bundle_files import CARD, write_bundle
from layerprobe.embed.checkpoints.source import ModelSource

TRANSFORMERS = "transformers"  # the tensors' names; until 0.3.0 some bundles had those of `SpeechClassifier`


def save_model(
    folder: Path,
    trained: SpeechClassifier,
    *,
    source: ModelSource,
    config: FinetuneConfig,
    labels: Sequence[str],
    precision: str,
    about: Mapping[str, Any],
) -> Path:
    """Write the bundle `folder`, which is returned.

    about: what else bundle.json says. Where transformers has this model, the folder is one of its
    own, of which both read the same tensors; otherwise `embed` still reads its encoder.
    """
    model = None
    processor = feature_extractor(normalise=source.normalise)
    if not obstacle(source.config, config):
        model = as_transformers(trained, source.config, labels)
        if difference(model, processor, logits_of(trained, normalise=source.normalise)):
            model = None  # another version of transformers, which computes something else
    saved_as = replace(config, lora=0)  # adapters are part of the weights

    def write(part: Path) -> dict[str, Any]:
        if model is None:
            write_encoder(trained, source, part)
        else:
            write_model(model, processor, part)
        card = model_card(about, labels=labels, window=config.window, transformers=model is not None)
        (part / CARD).write_text(card, encoding="utf-8")
        settings = classifier_settings(source, saved_as, labels)
        return {
            "kind": "finetuned",
            **about,
            "labels": list(labels),
            "model": {**settings, "precision": precision, "names": TRANSFORMERS},
        }

    return write_bundle(folder, write)
