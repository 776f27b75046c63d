"""A model's name → its configuration and weight files: presets, hub ids, local folders, `random:NAME`.

Nothing here loads weights or imports torch, so `classify` and `--dry-run` can look a model up cheaply.
"""

from __future__ import annotations

import json
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.configuration import (
    WHISPER,
    read_config,
    read_feature_extractor,
    read_normalisation,
)
from layerprobe.embed.checkpoints.hub import fetch_snapshot
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.models.presets import (
    ACOUSTIC_PRESETS,
    ARCHITECTURES,
    PRESETS,
    RANDOM,
    canonical_name,
)
from layerprobe.embed.models.whisper import packaged
from layerprobe.embed.models.whisper.settings import encoder_settings


def is_folder(name: str) -> bool:
    """Whether a model's name denotes a local folder: it exists, or the name can denote nothing else."""
    return Path(name).is_dir() or name.startswith((".", "/", "~")) or name.count("/") > 1


def find_model(name: str, *, revision: str | None = None, offline: bool = False) -> ModelSource:
    """Find a model's configuration and weights, downloading them from the hub unless `offline`.

    Raises ModelError if there is no such model or its architecture is not supported.
    """
    if name.startswith(RANDOM):
        return _random(name, revision=revision, offline=offline)
    if is_folder(name):
        if revision is not None:
            what = f"--revision {revision} does not apply to the local folder {name}"
            raise ModelError(what, do="leave it out")
        return _from_folder(name, Path(name).expanduser(), hub_id=None, revision="")
    preset = PRESETS.get(name)
    hub_id = preset.hub_id if preset else name if name.count("/") == 1 else None
    if preset and hub_id is None:
        raise ModelError(f"{name} has no published weights", do=f"use {RANDOM}{name}")
    if hub_id is None:
        names = [*PRESETS, *ACOUSTIC_PRESETS]
        near = get_close_matches(name.lower(), names, n=3)
        known = f"did you mean {' or '.join(near)}" if near else f"known names: {', '.join(names)}"
        raise ModelError(f"no model named {name}", do=f"{known}; or OWNER/NAME, a local folder, {RANDOM}NAME")
    try:
        folder, commit = fetch_snapshot(hub_id, revision=revision, offline=offline)
    except ModelError as error:
        if revision is not None or canonical_name(name) != packaged.PRESET:
            raise
        folder = packaged.use_instead(error, convert=not offline)
        return _from_folder(name, folder, hub_id=None, revision="")
    return _from_folder(name, folder, hub_id=hub_id, revision=commit)


def _random(name: str, *, revision: str | None, offline: bool) -> ModelSource:
    """The architecture of `random:NAME`: NAME is a preset, or its config.json is read."""
    base = name.removeprefix(RANDOM)
    preset = PRESETS.get(base)
    if preset is not None:
        config = json.loads(ARCHITECTURES.read_text())[preset.architecture]
        return ModelSource(
            name=name,
            hub_id=None,
            revision="",
            folder=None,
            config=config,
            normalise=preset.normalise is not False,
        )
    if is_folder(base):
        folder = Path(base).expanduser()
    elif base.count("/") == 1:
        folder, _ = fetch_snapshot(base, revision=revision, offline=offline, weights=False)
    else:
        raise ModelError(f"no architecture named {base}", do=f"known names: {', '.join(PRESETS)}")
    return replace(_from_folder(name, folder, hub_id=None, revision=""), folder=None)


def _from_folder(name: str, folder: Path, *, hub_id: str | None, revision: str) -> ModelSource:
    config = read_config(folder, name=name)
    if config["model_type"] == WHISPER:
        config = encoder_settings(config, read_feature_extractor(folder), folder=folder)
    preset = PRESETS.get(canonical_name(hub_id)) if hub_id else None
    # Random weights were trained on nothing: both ways are right.
    default = True if name.startswith(RANDOM) else preset.normalise if preset else None
    return ModelSource(
        name=name,
        hub_id=hub_id,
        revision=revision,
        folder=folder,
        config=config,
        normalise=read_normalisation(folder, config, default=default),
    )
