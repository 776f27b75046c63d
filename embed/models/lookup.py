"""Find the cached states of a model: from its name to the store in a cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import ModelError
from layerprobe.cache.common.options import StoreOptions, check_choices
from layerprobe.cache.maintenance.catalog import find_store
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.checkpoints.source import files_hash
from layerprobe.embed.config import STATS
from layerprobe.embed.models.layers import (
    CNN,
    embed_options,
    layer_names,
    named_layers,
    other_layers,
    parse_layers,
)
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, PRESETS, RANDOM, canonical_name
from layerprobe.embed.models.sources import find_model, is_folder


def find_model_store(
    cache: Path,
    model: str,
    *,
    revision: str | None = None,
    layers: str = "all",
    virtual_layers: Sequence[str] = (),
    stats: Sequence[str] = (),
    frames: bool = False,
    fingerprint: str | None = None,
) -> FeatureStore:
    """The one store in `cache` that holds the states of `model` as requested.

    model: a preset, hub id, local folder, `random:NAME`, `mfcc` or `fbank`.
    layers: as in `embed.models.layers.parse_layers`; the store must hold those that are named.
    virtual_layers: names that `layers` may contain although no store holds them, such as a mix of layers.
    stats: statistics that the store must hold. frames: whether it must hold every frame.
    fingerprint: the beginning of the extraction's fingerprint, to choose between several.

    Raises ModelError for an unknown model, InputError for an unknown layer or statistic, and StoreError where
    no store or more than one fits.
    """
    match = wanted_fields(model, revision=revision, cache=cache)
    if layers != "all" or stats:
        check_names(model, revision=revision, layers=layers, stats=stats, also=(*virtual_layers, CNN))
    named = tuple(name for name in named_layers(layers) if name not in virtual_layers)
    return find_store(
        cache,
        model=model,
        match=match,
        layers=named,
        stats=stats,
        frames=frames,
        fingerprint=fingerprint,
        options=embed_options(layers=named, stats=stats),
    )


def find_model_stores(source: StoreOptions, models: Sequence[str], **wanted: Any) -> list[FeatureStore]:
    """`find_model_store` for each of several models: their fingerprints are comma-separated, or one for all.

    wanted: further arguments. Raises ValueError for another number of fingerprints than of models.
    """
    fingerprints = (source.fingerprint or "").split(",")
    if len(fingerprints) == 1:
        fingerprints *= len(models)
    return [
        find_model_store(
            source.cache, model, revision=source.revision, fingerprint=fingerprint.strip() or None, **wanted
        )
        for model, fingerprint in zip(models, fingerprints, strict=True)
    ]


def wanted_fields(model: str, *, revision: str | None, cache: Path) -> dict[str, object]:
    """Fields of `cache.identity.extraction.Extraction` that identify states of this model.

    A local folder is identified by its current weights, and so is a hub model that was downloaded to this
    machine; one that was not (its states came from another machine), by its name and revision. Loads no
    weights and needs no network. Raises ModelError.
    """
    name = canonical_name(model)
    if model in ACOUSTIC_PRESETS:
        return {"model": name, "architecture": ACOUSTIC_PRESETS[model].architecture()}
    if is_folder(model):
        source = find_model(model, revision=revision)
        return {"architecture": source.architecture(), "weights": files_hash(source, cache)}
    try:
        source = find_model(model, revision=revision, offline=True)
        if model.startswith(RANDOM):
            return {"model": name, "architecture": source.architecture()}
        return {"revision": source.revision, "weights": files_hash(source, cache)}
    except ModelError:
        preset = PRESETS.get(name)
        on_hub = "/" in model or (preset is not None and preset.hub_id is not None)
        if not on_hub:
            raise
        return {"model": name} if revision is None else {"model": name, "revision": revision}


def check_names(
    model: str,
    *,
    revision: str | None,
    layers: str = "all",
    stats: Sequence[str] = (),
    also: Sequence[str] = (),
) -> None:
    """Raise InputError for statistics that no store holds and for layers that the model does not have.

    layers: as in `embed.models.layers.parse_layers`, with the names `also` allowed. The layers of a hub model
    that was not downloaded are not checked.
    """
    check_choices("--stats", stats, STATS)
    if model in ACOUSTIC_PRESETS:
        available: tuple[str, ...] = (ACOUSTIC_PRESETS[model].layer,)
        also = tuple(name for name in also if name != CNN)
    else:
        try:
            config = find_model(model, revision=revision, offline=True).config
        except ModelError:
            return
        available = layer_names(config)
        also = tuple(name for name in also if name != CNN or name in other_layers(config))
    parse_layers(layers, available, also=also)
