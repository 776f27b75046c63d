"""Backbones: frozen models that pass every layer's states of a batch to a visitor, one layer at a time."""

from __future__ import annotations

from collections.abc import Mapping

from layerprobe.cache.common.console import say_detail, stage
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.checkpoints.configuration import SEW, WAV2VEC2_BERT, WAV2VEC2_LIKE, WHISPER
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
from layerprobe.embed.models.layers import layer_names, other_layers, parse_layers
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, canonical_name
from layerprobe.embed.models.sources import find_model
from layerprobe.embed.models.wav2vec2 import SewBackbone, TransformerBackbone
from layerprobe.embed.models.wav2vec2_bert import Wav2Vec2BertBackbone
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from layerprobe.embed.models.whisper.context import find_context

# The backbone of each family but Whisper's, by transformers' model_type.
BACKBONES: Mapping[str, type[TransformerBackbone]] = {
    **dict.fromkeys(WAV2VEC2_LIKE, TransformerBackbone),
    **dict.fromkeys(SEW, SewBackbone),
    WAV2VEC2_BERT: Wav2Vec2BertBackbone,
}


@stage("load the model")
def open_backbone(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """Load the configured model onto its device; also return the identity of the states it computes.

    Acoustic features run on the CPU in fp32, whatever device and precision are configured. Raises InputError
    if the model, its layers or the device are not available.
    """
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    backbone: Backbone
    context, stats, dtype = "", tuple(config.stats), config.dtype
    if config.model in ACOUSTIC_PRESETS:
        settings = ACOUSTIC_PRESETS[config.model]
        backbone, stats, dtype = open_acoustic(settings, config)
        parse_layers(config.layers, backbone.layers)
        revision, weights = "", "none"
        architecture = settings.architecture()
    else:
        source = find_model(config.model, revision=config.revision)
        layers = parse_layers(config.layers, layer_names(source.config), also=other_layers(source.config))
        # Before the weights are loaded: a damaged download is recognised by its hash.
        weights = files_hash(source, config.cache) if source.folder is not None else ""
        precision = find_precision(config.precision, device)
        transformer: TransformerBackbone | WhisperBackbone
        if source.config["model_type"] == WHISPER:
            silence = find_context(config, positions=source.config["max_source_positions"])
            context = silence.identity
            transformer = WhisperBackbone(
                source, layers=layers, context=silence, device=device, precision=precision, seed=config.seed
            )
        else:
            family = BACKBONES[source.config["model_type"]]
            transformer = family(source, layers=layers, device=device, precision=precision, seed=config.seed)
        backbone = transformer
        revision, architecture = source.revision, source.architecture()
        weights = transformer.weights or weights
    if not context and config.whisper_context != CLIP_CONTEXT:
        what = f"--whisper-context applies to Whisper models, and {config.model} is of another type"
        raise InputError(what, do="leave it out")
    say_detail(f"{config.model} in {backbone.precision} on {describe_device(backbone.device)}")
    return backbone, Extraction(
        model=canonical_name(config.model),
        revision=revision,
        weights=weights,
        architecture=architecture,
        normalise=backbone.normalise,
        layers=backbone.layers,
        widths=backbone.widths,
        stats=(FRAME,) if config.frames else stats,
        dtype=dtype,
        precision=backbone.precision,
        window=config.window,
        rate=RATE,
        frame_rate=backbone.frame_rate,
        receptive_field=backbone.receptive_field,
        context=context,
        channels=config.channels,
        track=config.track,
        notes={"seed": config.seed, "device": describe_device(backbone.device), "versions": versions()},
    )
