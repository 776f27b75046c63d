"""Backbones: frozen models that pass every layer's states of a batch to a visitor, one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from layerprobe.cache.common.console import say_detail, stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.checkpoints.configuration import (
    CONFORMER,
    SEW,
    WAV2VEC2_BERT,
    WAV2VEC2_LIKE,
    WHISPER,
)
from layerprobe.embed.checkpoints.source import files_hash
from layerprobe.embed.config import CLIP_CONTEXT, RATE, EmbedConfig
from layerprobe.embed.models.acoustic import open_acoustic
from layerprobe.embed.models.device import (
    describe_device,
    find_device,
    find_precision,
    keep_freed_memory,
    versions,
)
from layerprobe.embed.models.interface import Backbone
from layerprobe.embed.models.layers import (
    hop,
    layer_names,
    layer_width,
    other_layers,
    parse_layers,
    receptive_field,
)
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, canonical_name
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.wav2vec2 import HookedBackbone, SewBackbone, TransformerBackbone
from layerprobe.embed.models.wav2vec2_bert import Wav2Vec2BertBackbone
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from layerprobe.embed.models.whisper.context import find_context
from layerprobe.embed.models.whisper.settings import HOP as WHISPER_HOP
from layerprobe.embed.models.whisper.settings import RECEPTIVE_FIELD as WHISPER_FIELD

# The backbone of each family but Whisper's, by transformers' model_type.
BACKBONES: Mapping[str, type[TransformerBackbone]] = {
    **dict.fromkeys(WAV2VEC2_LIKE, TransformerBackbone),
    CONFORMER: HookedBackbone,
    **dict.fromkeys(SEW, SewBackbone),
    WAV2VEC2_BERT: Wav2Vec2BertBackbone,
}


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A configured model, of which all but random weights are still to be loaded.

    name: as configured. extraction: identity of the states that it computes. device: on which it computes.
    """

    name: str
    extraction: Extraction
    device: torch.device
    make: Callable[[], Backbone]

    @stage("load the model")
    def load(self) -> Backbone:
        """The model on its device. Raises ModelError if its weights cannot be read or do not fit."""
        backbone = self.make()
        say_detail(f"{self.name} in {backbone.precision} on {describe_device(backbone.device)}")
        return backbone


def open_backbone(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """Load the configured model onto its device; also return the identity of the states it computes.

    Acoustic features run on the CPU in fp32, whatever device and precision are configured. Raises InputError
    if the model, its layers or the device are not available.
    """
    plan = plan_model(config)
    return plan.load(), plan.extraction


def plan_model(config: EmbedConfig) -> ModelPlan:
    """Find the configured model and the identity of its states, from its configuration and its files' hashes.

    Only random weights are drawn already, because these identify them. Raises InputError as `open_backbone`
    does, but not for weights that do not fit the configuration.
    """
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    if config.model in ACOUSTIC_PRESETS:
        return _plan_acoustic(config)
    source = find_model(config.model, revision=config.revision)
    settings, whisper = source.config, source.config["model_type"] == WHISPER
    layers = parse_layers(config.layers, layer_names(settings), also=other_layers(settings))
    # Before the weights are loaded: a damaged download is recognised by its hash.
    weights = files_hash(source, config.cache) if source.folder is not None else ""
    options: dict[str, Any] = {
        "layers": layers,
        "device": device,
        "precision": find_precision(config.precision, device),
        "seed": config.seed,
    }
    make: Callable[[], TransformerBackbone | WhisperBackbone]
    if whisper:
        context = find_context(config, positions=settings["max_source_positions"])
        make, silence = partial(WhisperBackbone, source, context=context, **options), context.identity
    else:
        _refuse_context(config)
        make, silence = partial(BACKBONES[settings["model_type"]], source, **options), ""
    if source.folder is None:
        drawn = make()
        make, weights = (lambda: drawn), drawn.weights or ""
    extraction = _extraction(
        config,
        device=device,
        revision=source.revision,
        weights=weights,
        architecture=source.architecture(),
        normalise=source.normalise,
        layers=layers,
        widths=tuple(layer_width(settings, layer) for layer in layers),
        precision=options["precision"],
        frame_rate=RATE / (WHISPER_HOP if whisper else hop(settings)),
        receptive_field=(WHISPER_FIELD if whisper else receptive_field(settings)) / RATE,
        context=silence,
    )
    return ModelPlan(name=config.model, extraction=extraction, device=device, make=make)


def _plan_acoustic(config: EmbedConfig) -> ModelPlan:
    _refuse_context(config)
    settings = ACOUSTIC_PRESETS[config.model]
    backbone, stats, dtype = open_acoustic(settings, config)
    parse_layers(config.layers, backbone.layers)
    extraction = _extraction(
        replace(config, stats=stats, dtype=dtype),
        device=backbone.device,
        revision="",
        weights="none",
        architecture=settings.architecture(),
        normalise=backbone.normalise,
        layers=backbone.layers,
        widths=backbone.widths,
        precision=backbone.precision,
        frame_rate=backbone.frame_rate,
        receptive_field=backbone.receptive_field,
    )
    return ModelPlan(name=config.model, extraction=extraction, device=backbone.device, make=lambda: backbone)


def _refuse_context(config: EmbedConfig) -> None:
    """Raise InputError for a context of a model that is no Whisper encoder."""
    if config.whisper_context != CLIP_CONTEXT:
        what = f"--whisper-context applies to Whisper models, and {config.model} is of another type"
        raise InputError(what, do="leave it out")


def _extraction(config: EmbedConfig, *, device: torch.device, **model: Any) -> Extraction:
    """model: the fields that follow from the model."""
    return Extraction(
        model=canonical_name(config.model),
        stats=(FRAME,) if config.frames else tuple(config.stats),
        dtype=config.dtype,
        window=config.window,
        rate=RATE,
        channels=config.channels,
        track=config.track,
        notes={"seed": config.seed, "device": describe_device(device), "versions": versions()},
        **model,
    )
