"""Which corpora and which weights are on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.embed.manifest.corpora import CORPORA, Corpus
from layerprobe.embed.models.presets import ARCHITECTURES, PRESETS, canonical_name
from layerprobe.embed.models.sources import ModelSource, find_model


def find_corpus(name: str, folder: Path | None) -> Corpus:
    """The clips of `folder/NAME`, whatever the case of its letters.

    Raises InputError, saying what was looked for and what was found.
    """
    if folder is None:
        raise InputError(
            "no folder with corpora was given", do=f"give --corpora FOLDER, with FOLDER/{name} in it"
        )
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), do="give another --corpora")
    found = sorted(path for path in folder.iterdir() if path.name.lower() == name and path.is_dir())
    if not found:
        raise InputError(f"looked for a folder '{name}' and found none", where=str(folder))
    return CORPORA[name](found[0])


def find_weights(hub_id: str, folder: Path | None, *, any_size: bool = False) -> str:
    """What to give as a model: `folder/OWNER/NAME` where it is, else the hub's id of what was downloaded.

    any_size: take weights of another size than the model's preset has, as stand-ins are. Loads nothing and
    asks no network. Raises ModelError.
    """
    if folder is not None and (folder / hub_id).is_dir():
        local = str((folder / hub_id).resolve())
        source = _complete(local)
        if not any_size:
            _check_size(source, hub_id)
        return local
    try:
        _complete(hub_id)
    except ModelError as error:
        beside = "" if folder is None else f"no {folder / hub_id}, and "
        raise ModelError(f"{beside}none in the hub's cache") from error
    return hub_id


def _complete(model: str) -> ModelSource:
    source = find_model(model, offline=True)
    gone = [path.name for path in source.weight_files() if not path.is_file()]
    if gone:
        raise ModelError(f"{gone[0]} is missing", where=str(source.folder))
    return source


def _check_size(source: ModelSource, hub_id: str) -> None:
    """A stand-in's weights in the folder of a real model would pass its figures off as the model's."""
    preset = PRESETS.get(canonical_name(hub_id))
    if preset is None:
        return
    known = json.loads(ARCHITECTURES.read_text())[preset.architecture]
    here, there = (
        f"{config.get('num_hidden_layers')} layers of {config.get('hidden_size')}"
        for config in (source.config, known)
    )
    if here != there:
        raise ModelError(f"has {here}, and {hub_id} has {there}", where=str(source.folder))
