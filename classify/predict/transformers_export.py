"""Write a bundle as a transformers model, which `pipeline("audio-classification", model=FOLDER)` runs.

A frozen backbone cut after layer k with a linear head on mean-pooled states is exactly that library's
`…ForSequenceClassification`: scaling, principal axes, weights and temperature are linear, and together become
its classifier; its projector is the identity. `finetune.saving.transformers_model` has what fine-tuned models
share with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.common.text import program
from layerprobe.classify.config import WITHOUT_ONE_LABEL, main_metric
from layerprobe.classify.features.fitted import FittedInputs
from layerprobe.classify.features.fitted_frames import FittedFrames
from layerprobe.classify.finetune.saving.transformers_model import (
    as_transformers,
    difference,
    feature_extractor,
    logits_of,
    open_classifier,
    second_of_noise,
    write_model,
)
from layerprobe.classify.finetune.saving.transformers_model import obstacle as finetuned_obstacle
from layerprobe.classify.heads.fitted import Linear
from layerprobe.classify.predict.bundle import Bundle
from layerprobe.classify.predict.finetuned import FinetunedBundle
from layerprobe.classify.predict.fitting.averaged import EnsembleSystem
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.make import selected_system
from layerprobe.classify.predict.system import System
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.score_names import SCORE_NAMES, score_text
from layerprobe.embed.checkpoints.configuration import WAV2VEC2_LIKE
from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.config import RATE
from layerprobe.embed.models.layers import CNN, FINAL, layer_names
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS
from layerprobe.embed.models.sources import find_model

UNUSED = -1e4  # of a layer's weight before the softmax, which is then exactly 0


def export_transformers(bundle: Bundle, out: Path) -> Path:
    """Write model, feature extractor and labels to the folder `out`, which is returned.

    The logits of the written model are compared with the bundle's on a second of noise. Raises InputError for
    a system that transformers has no model for, another family of models, a backbone that is not the
    bundle's, and a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise InputError(what, where=str(out), do="choose another folder")
    if bundle.task in WITHOUT_ONE_LABEL:
        what = f"is of {WITHOUT_ONE_LABEL[bundle.task]}, and transformers gives each recording one class"
        raise InputError(what, where=str(bundle.folder), do="predict with layerprobe")
    if isinstance(bundle, FinetunedBundle):
        model, processor, expected = _finetuned(bundle)
    else:
        assert isinstance(bundle, FrozenBundle)  # for the type checker: there is no third kind
        model, processor, expected = _frozen(bundle)
    if found := difference(model, processor, expected):
        what = f"this version of transformers computes other logits (they differ by {found:.2g})"
        raise InputError(what, where=str(bundle.folder), do="use another version of transformers")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_model(model, processor, out)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(out)) from error
    return out


def _finetuned(bundle: FinetunedBundle) -> tuple[Any, Any, np.ndarray]:
    """Model and feature extractor of transformers, and the logits of `second_of_noise`."""
    trained, config, source = bundle.load_classifier()
    if reason := finetuned_obstacle(source.config, config):
        do = "use it with `predict` or `serve`"
        raise InputError(f"transformers has no model for {reason}", where=str(bundle.folder), do=do)
    processor = feature_extractor(normalise=source.normalise)
    expected = logits_of(trained, normalise=source.normalise)
    return as_transformers(trained, source.config, bundle.labels), processor, expected


def _frozen(bundle: FrozenBundle) -> tuple[Any, Any, np.ndarray]:
    """As `_finetuned`."""
    reason = obstacle(bundle.system, bundle.extraction.model)
    if reason:
        what = f"transformers cannot run {reason}"
        is_acoustic = bundle.extraction.model in ACOUSTIC_PRESETS
        do = "study a model of transformers" if is_acoustic else alternative(bundle.folder)
        raise InputError(what, where=str(bundle.folder), do=do)
    extractor = bundle.load_backbone(exact=True)  # checks its weights
    model = _classifier(bundle)
    (states,) = extractor.arrays([second_of_noise()], rates=[RATE])
    assert not isinstance(states, ClipError)  # for the type checker: noise is no bad recording
    system = bundle.system
    assert isinstance(system, System)  # for the type checker: `obstacle` checks it
    expected = system.head.scores(system.inputs.apply({name: s[None] for name, s in states.items()}))[0]
    processor = feature_extractor(normalise=extractor.extraction.normalise)
    return model, processor, expected / system.temperature


def obstacle(system: System | EnsembleSystem, model: str) -> str:
    """What transformers cannot run of a system, or "" if it can run it."""
    if model in ACOUSTIC_PRESETS:
        return f"acoustic features ({model})"
    if isinstance(system, EnsembleSystem):
        return "an ensemble of several layers and heads"
    inputs, head = system.inputs, system.head
    if isinstance(inputs, FittedFrames):
        return "a network that reads every frame"
    if len(inputs.names) > 1:
        return "several layers together"
    if inputs.names == (CNN,):
        return "the convolutional front end alone"
    if inputs.stats != ("mean",):
        return f"{'+'.join(inputs.stats)} over frames, only the mean"
    if inputs.by_speaker:
        return "scaling by speaker"
    if inputs.layers[0].centre is not None:
        return "scaling to unit length (l2)"
    if not isinstance(head, Linear) or (head.pairs and head.classes > 2):
        names = {"svc": "a support vector machine", "kernel": "a support vector machine", "trees": "trees"}
        names["laplace"] = "a Gaussian process"
        return names.get(head.kind, "a head that is not linear")
    return ""


def alternative(folder: Path) -> str:
    """The best system that transformers can run, with both scores, and the command that makes its bundle."""
    command = f"{program()} bundle make RUN --exportable --out FOLDER"
    try:
        summary = read_json(folder.parent / SUMMARY, holding="selected")
        layer, head = selected_system(summary, exportable=True)
    except InputError:
        return f"make the bundle of a system that it can: `{command}`"
    entry = next(row for row in summary["layers"] if (row["layer"], row["head"]) == (layer, head))
    metric = main_metric(summary)
    scores = [score_text(entry[metric]), score_text(summary["selected"][metric])]
    best = f"{head} on layer {layer} ({SCORE_NAMES[metric]} {scores[0]}, the selected system {scores[1]})"
    return f"it can run {best}: `{command.replace('RUN', shlex.quote(str(folder.parent)))}`"


def folded(system: System | EnsembleSystem) -> tuple[np.ndarray, np.ndarray]:
    """(K, D) and (K,) float32: the whole system as one linear layer on a clip's mean state."""
    assert isinstance(system, System)  # for the type checker: `obstacle` checks all three
    inputs, head = system.inputs, system.head
    assert isinstance(inputs, FittedInputs)
    assert isinstance(head, Linear)
    (fitted,) = inputs.layers
    W, b = head.W.astype(np.float64), head.b.astype(np.float64)
    if head.pairs:
        W, b = np.hstack([W, -W]), np.hstack([b, -b])
    if fitted.axes is not None:
        W = fitted.axes @ W
    W = fitted.weight * fitted.columns.factor[:, None] * W
    b = b - fitted.columns.mean @ W
    return (W.T / system.temperature).astype(np.float32), (b / system.temperature).astype(np.float32)


def _classifier(bundle: FrozenBundle) -> Any:
    """transformers' model with the weights of backbone and head."""
    source = find_model(bundle.model, revision=bundle.revision)
    if source.config.get("model_type") not in WAV2VEC2_LIKE:
        what = f"is on a model of type {source.config.get('model_type')}, which transformers cannot cut"
        raise InputError(what, where=str(bundle.folder))
    backbone = load_model(source, seed=int(bundle.extraction.notes.get("seed", 0)))
    (layer,) = bundle.system.names
    blocks, weighted = _cut(layer, source.config)
    model = open_classifier(
        source.config,
        bundle.labels,
        num_hidden_layers=blocks,
        use_weighted_layer_sum=weighted is not None,
        apply_spec_augment=False,
    )
    weight, bias = folded(bundle.system)
    with torch.no_grad():
        base = model.base_model
        tensors = backbone.state_dict()
        base.load_state_dict({name: tensors[name] for name in base.state_dict()})
        model.classifier.weight.copy_(torch.from_numpy(weight))
        model.classifier.bias.copy_(torch.from_numpy(bias))
        if weighted is not None:
            model.layer_weights.fill_(UNUSED)[weighted] = 0.0
    return model


def _cut(layer: str, config: Mapping[str, Any]) -> tuple[int, int | None]:
    """How many blocks to keep, and which of their inputs and outputs to read; None for the model's output.

    Models with a final LayerNorm apply it to their last block, wherever they are cut: the layer is then the
    input of the block after it, as is layer 0 of every model.
    """
    count = int(config["num_hidden_layers"])
    if layer == FINAL:
        return count, None
    number = int(layer)
    if number > 0 and FINAL not in layer_names(config):
        return number, None
    return min(number + 1, count), number
