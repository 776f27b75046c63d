"""A model's name → its configuration and weight files: presets, hub ids, local folders, `random:NAME`.

Nothing here loads weights or imports torch, so `classify` and `--dry-run` can look a model up cheaply.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.embed.config import RATE
from layerprobe.embed.models.hub import WEIGHT_FILES, fetch_snapshot
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, ARCHITECTURES, PRESETS, RANDOM, canonical_name
from layerprobe.embed.models.whisper import packaged
from layerprobe.embed.models.whisper.settings import WHISPER, encoder_settings

FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", WHISPER)

# Settings of a transformers configuration that change no hidden state: provenance and training.
_NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label", "label2id"}
    | {"vocab_size", "apply_spec_augment", "gradient_checkpointing", "use_weighted_layer_sum", "model_name"}
)


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from and what it is.

    name: as the user wrote it. hub_id: None unless it came from the hub. revision: the hub commit, or "".
    folder: holds the configuration and the weights; None for random weights.
    config: transformers' configuration as a dict. normalise: whether the model expects unit-variance clips.
    """

    name: str
    hub_id: str | None
    revision: str
    folder: Path | None
    config: Mapping[str, Any]
    normalise: bool

    def architecture(self) -> str:
        """SHA-256 over the settings of the configuration that determine the hidden states."""
        settings = {k: self.config[k] for k in sorted(self.config) if k not in _NOT_ARCHITECTURE}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def weight_files(self) -> list[Path]:
        """Files with the tensors, safetensors preferred; empty for random weights. Raises ModelError."""
        if self.folder is None:
            return []
        for name in WEIGHT_FILES:
            index = self.folder / f"{name}.index.json"
            if index.is_file():
                return _files_in_index(index)
            if (self.folder / name).is_file():
                return [self.folder / name]
        raise ModelError(
            f"no weights in {self.folder}", do=f"expected {' or '.join(WEIGHT_FILES)} next to config.json"
        )


def files_hash(source: ModelSource, cache: Path) -> str:
    """SHA-256 over the hashes of a model's weight files, independent of their folder's name.

    The files' hashes are remembered in `cache`. Raises InputError for a file that cannot be read.
    """
    files = source.weight_files()
    with DigestCache(cache) as digests:
        digest_of = digests.hash_files(files)
    total = hashlib.sha256()
    for path in files:
        digest = digest_of[path]
        if isinstance(digest, OSError):
            raise InputError(f"cannot read the weights ({digest.strerror})", where=str(path))
        total.update(digest.encode())
    return total.hexdigest()


def tensors_hash(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over named torch tensors on the CPU: the identity of weights that were not read from files."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


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
        known = f"known names: {', '.join([*PRESETS, *ACOUSTIC_PRESETS])}"
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
            name=name, hub_id=None, revision="", folder=None, config=config, normalise=preset.normalise
        )
    if is_folder(base):
        folder = Path(base).expanduser()
    elif base.count("/") == 1:
        folder, _ = fetch_snapshot(base, revision=revision, offline=offline, weights=False)
    else:
        raise ModelError(f"no architecture named {base}", do=f"known names: {', '.join(PRESETS)}")
    return replace(_from_folder(name, folder, hub_id=None, revision=""), folder=None)


def _from_folder(name: str, folder: Path, *, hub_id: str | None, revision: str) -> ModelSource:
    config_file, processor_file = folder / "config.json", folder / "preprocessor_config.json"
    saved = "give a folder that save_pretrained wrote"
    if not folder.is_dir():
        raise ModelError(f"no folder {folder}", do=f"{saved}, a preset or a hub id")
    try:
        config = json.loads(config_file.read_text())
        processor = json.loads(processor_file.read_text()) if processor_file.is_file() else {}
    except FileNotFoundError as error:
        raise ModelError(f"no config.json in {folder}", do=saved) from error
    except (ValueError, OSError) as error:
        raise ModelError(f"unreadable configuration ({error})", where=str(folder)) from error
    if not isinstance(config, dict) or not isinstance(processor, dict):
        raise ModelError("unreadable configuration (not a JSON object)", where=str(folder))
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{name} is of type {family}", do=f"supported are {', '.join(FAMILIES)}")
    if family == WHISPER:
        config = encoder_settings(config, processor, folder=folder)
    else:
        _check_shape(config, config_file)
    rate = processor.get("sampling_rate", RATE)
    if rate != RATE:
        do = f"only models of {RATE} Hz are supported"
        raise ModelError(f"it expects audio at {rate} Hz", where=str(processor_file), do=do)
    # The feature extractors' own defaults, for a checkpoint without a preprocessor_config.json.
    normalise = bool(processor.get("do_normalize", family != WHISPER))
    return ModelSource(
        name=name, hub_id=hub_id, revision=revision, folder=folder, config=config, normalise=normalise
    )


def _check_shape(config: Mapping[str, Any], file: Path) -> None:
    """Raise ModelError unless the numbers of layers and the convolutions are given as positive integers."""
    shape: dict[str, Any] = {name: [config.get(name)] for name in ("num_hidden_layers", "hidden_size")}
    shape |= {name: config.get(name) for name in ("conv_dim", "conv_kernel", "conv_stride")}
    for name, values in shape.items():
        if not isinstance(values, list) or not values or not all(type(n) is int and n > 0 for n in values):
            do = "take the config.json that save_pretrained wrote"
            raise ModelError(f"its {name} is {config.get(name, 'missing')}", where=str(file), do=do)
    if len({len(shape[name]) for name in ("conv_dim", "conv_kernel", "conv_stride")}) > 1:
        raise ModelError("conv_dim, conv_kernel and conv_stride differ in length", where=str(file))


def _files_in_index(index: Path) -> list[Path]:
    """The weight files that an index lists. Raises ModelError if it is unreadable or a file is missing."""
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        files = [index.with_name(name) for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"unreadable weight index ({error})", where=str(index)) from error
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        what = f"{len(missing)} weight files are missing, such as {missing[0]}"
        raise ModelError(what, where=str(index), do="its download or copy is incomplete")
    return files
