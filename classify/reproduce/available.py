"""Find the corpora and weights of a published system on this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.classify.reproduce.published import CORPUS_SOURCES, PublishedSystem
from layerprobe.classify.reproduce.table import Missing
from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.manifest.corpora import CORPORA, Corpus
from layerprobe.embed.models.presets import ARCHITECTURES, PRESETS, canonical_name
from layerprobe.embed.models.sources import find_model


@dataclass(frozen=True, kw_only=True)
class Available:
    """What was found for a row: its corpora by name, its model ("" if absent), and what is missing."""

    corpora: dict[str, Corpus]
    model: str
    missing: tuple[Missing, ...]


def find_available(
    system: PublishedSystem, *, corpora: Path | None, weights: Path | None, any_size: bool
) -> Available:
    """Look for the corpora and weights of a row; parameters as for `find_corpus` and `find_weights`."""
    found: dict[str, Corpus] = {}
    missing = []
    for name in system.corpora:
        try:
            found[name] = find_corpus(name, corpora)
        except InputError as error:
            source = CORPUS_SOURCES[name]
            missing.append(
                Missing(
                    name=f"corpus {name}: {source.title}, {source.clips:,} clips",
                    reason=str(error),
                    source=source.where,
                    licence=source.licence,
                    expected=f"FOLDER/{name} for --corpora FOLDER; in it {source.layout}",
                )
            )
    model, hub_id = "", system.hub_id
    try:
        model = find_weights(hub_id, weights, any_size=any_size)
    except InputError as error:
        missing.append(
            Missing(
                name=f"weights {hub_id}",
                reason=str(error),
                source=f"hf download {hub_id}, from the Hugging Face hub",
                licence="on the model's page",
                expected=f"the hub's cache; or FOLDER/{hub_id} for --weights FOLDER, with config.json and "
                "model.safetensors",
            )
        )
    return Available(corpora=found, model=model, missing=tuple(missing))


def find_corpus(name: str, folder: Path | None) -> Corpus:
    """The clips in `folder/NAME`; the case of NAME does not matter. Raises InputError if it is missing."""
    if folder is None:
        raise InputError(
            "no folder with corpora was given", do=f"give --corpora FOLDER, with FOLDER/{name} in it"
        )
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), do="give another --corpora")
    matches = sorted(path for path in folder.iterdir() if path.name.lower() == name and path.is_dir())
    if not matches:
        raise InputError(f"looked for a folder '{name}' and found none", where=str(folder))
    return CORPORA[name](matches[0])


def find_weights(hub_id: str, folder: Path | None, *, any_size: bool = False) -> str:
    """The model argument for these weights: `folder/OWNER/NAME` if it exists, else the id in the hub's cache.

    any_size: accept weights of another size than the model's preset (stand-ins). Works offline and loads no
    weights. Raises ModelError.
    """
    if folder is not None and (folder / hub_id).is_dir():
        path = str((folder / hub_id).resolve())
        source = _find_complete(path)
        if not any_size:
            _check_size(source, hub_id)
        return path
    try:
        _find_complete(hub_id)
    except ModelError as error:
        prefix = "" if folder is None else f"no {folder / hub_id}, and "
        raise ModelError(f"{prefix}none in the hub's cache") from error
    return hub_id


def _find_complete(model: str) -> ModelSource:
    source = find_model(model, offline=True)
    missing = [path.name for path in source.weight_files() if not path.is_file()]
    if missing:
        raise ModelError(f"{missing[0]} is missing", where=str(source.folder))
    return source


def _check_size(source: ModelSource, hub_id: str) -> None:
    """Refuse a stand-in in the folder of a real model: its scores would pass for the model's."""
    preset = PRESETS.get(canonical_name(hub_id))
    if preset is None:
        return
    expected = json.loads(ARCHITECTURES.read_text())[preset.architecture]
    actual_size, expected_size = (
        f"{config.get('num_hidden_layers')} layers of {config.get('hidden_size')}"
        for config in (source.config, expected)
    )
    if actual_size != expected_size:
        raise ModelError(f"has {actual_size}, and {hub_id} has {expected_size}", where=str(source.folder))
