"""Save the model of a fold as a bundle, for `predict`, and for transformers where it can run it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerprobe.classify.finetune.checkpoints import WEIGHTS
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.classify.finetune.model import SpeechClassifier, classifier_settings
from layerprobe.classify.finetune.saving.card import model_card
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

OWN, TRANSFORMERS = "own", "transformers"  # names of the tensors: as in `SpeechClassifier`, or as there


def save_model(
    folder: Path,
    trained: SpeechClassifier,
    *,
    weights: Path,
    source: ModelSource,
    config: FinetuneConfig,
    labels: Sequence[str],
    precision: str,
    about: Mapping[str, Any],
) -> Path:
    """Write the bundle `folder`, which is returned.

    trained: the model with the tensors in the file `weights`. about: what else bundle.json says. Where
    transformers has this model, the folder is one of its own as well, of which both read the same tensors.
    """
    model = None
    processor = feature_extractor(normalise=source.normalise)
    if not obstacle(source.config, config):
        model = as_transformers(trained, source.config, labels)
        if difference(model, processor, logits_of(trained, normalise=source.normalise)):
            model = None  # another version of transformers, which computes something else
    saved_as = config if model is None else replace(config, lora=0)  # adapters are part of its weights

    def write(part: Path) -> dict[str, Any]:
        if model is None:
            shutil.copyfile(weights, part / WEIGHTS)
        else:
            write_model(model, processor, part)
        card = model_card(about, labels=labels, window=config.window, transformers=model is not None)
        (part / CARD).write_text(card, encoding="utf-8")
        settings = classifier_settings(source, saved_as, labels)
        return {
            "kind": "finetuned",
            **about,
            "labels": list(labels),
            "model": {**settings, "precision": precision, "names": OWN if model is None else TRANSFORMERS},
        }

    return write_bundle(folder, write)
