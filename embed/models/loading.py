"""Settings of a run → its backbone on its device, and the `Extraction` that names what comes out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.digests import Digests
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.models.acoustic import ACOUSTIC, AcousticBackbone
from layerprobe.embed.models.backbones import Backbone, TransformerBackbone
from layerprobe.embed.models.device import (
    describe_device,
    find_device,
    find_precision,
    keep_freed_memory,
    versions,
)
from layerprobe.embed.models.layers import CNN, layer_names, parse_layers
from layerprobe.embed.models.sources import ModelSource, canonical_name, find_model


def open_backbone(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """The model that a run asks for, ready on its device. Raises InputError for what cannot be done."""
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    precision = find_precision(config.precision, device)
    if config.model in ACOUSTIC:
        return _open_acoustic(config)
    source = find_model(config.model, revision=config.revision)
    layers = parse_layers(config.layers, layer_names(source.config), also=(CNN,))
    backbone = TransformerBackbone(
        source, layers=layers, device=device, precision=precision, seed=config.seed
    )
    weights = backbone.weights or files_hash(source, config.cache)
    extraction = _extraction(
        config,
        backbone,
        revision=source.revision,
        weights=weights,
        architecture=source.architecture(),
        precision=precision,
    )
    return backbone, extraction


def _open_acoustic(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """Acoustic features run on the CPU in fp32 whatever the model settings say."""
    settings = ACOUSTIC[config.model]
    backbone = AcousticBackbone(settings)
    parse_layers(config.layers, backbone.layers)
    extraction = _extraction(
        config,
        backbone,
        revision="",
        weights="none",
        architecture=settings.architecture(),
        precision="fp32",
    )
    return backbone, extraction


def _extraction(
    config: EmbedConfig,
    backbone: Backbone,
    *,
    revision: str,
    weights: str,
    architecture: str,
    precision: str,
) -> Extraction:
    notes = {"seed": config.seed, "device": describe_device(backbone.device), "versions": versions()}
    return Extraction(
        model=canonical_name(config.model),
        revision=revision,
        weights=weights,
        architecture=architecture,
        normalise=backbone.normalise,
        layers=backbone.layers,
        widths=backbone.widths,
        stats=(FRAME,) if config.frames else config.stats,
        dtype=config.dtype,
        precision=precision,
        window=config.window,
        rate=RATE,
        frame_rate=backbone.frame_rate,
        receptive_field=backbone.receptive_field,
        notes=notes,
    )


def files_hash(source: ModelSource, cache: Path) -> str:
    """SHA-256 over the hashes of the files that hold a model's tensors, whatever their folder is called."""
    files = source.weight_files()
    with Digests(cache) as digests:
        known = digests.of(files)
    total = hashlib.sha256()
    for path in files:
        digest = known[path]
        if isinstance(digest, OSError):
            raise InputError(f"cannot read the weights ({digest.strerror})", where=str(path))
        total.update(digest.encode())
    return total.hexdigest()
