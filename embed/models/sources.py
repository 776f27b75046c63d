"""A model's name → where its weights are and what it is: presets, hub ids, local folders, `random:NAME`.

Nothing here loads a weight or imports torch, so that `classify` and `--dry-run` can ask cheaply.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.config import RATE
from layerprobe.embed.models.hub import WEIGHT_FILES, fetch_snapshot

ARCHITECTURES = Path(__file__).with_name("architectures.json")
FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
RANDOM = "random:"
ACOUSTIC = ("mfcc", "fbank")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A checkpoint known by a short name; `architecture` is its entry in architectures.json."""

    hub_id: str | None  # None: an architecture for random weights only
    architecture: str
    normalise: bool = True


_XLSR = "wav2vec2-large-layer-norm"
PRESETS: dict[str, Preset] = {
    "wav2vec2-base": Preset(hub_id="facebook/wav2vec2-base", architecture="wav2vec2-base"),
    "wav2vec2-large": Preset(hub_id="facebook/wav2vec2-large", architecture="wav2vec2-large"),
    "wav2vec2-large-xlsr-53": Preset(hub_id="facebook/wav2vec2-large-xlsr-53", architecture=_XLSR),
    "xls-r-300m": Preset(hub_id="facebook/wav2vec2-xls-r-300m", architecture=_XLSR),
    "hubert-base": Preset(hub_id="facebook/hubert-base-ls960", architecture="hubert-base"),
    "hubert-large": Preset(hub_id="facebook/hubert-large-ll60k", architecture="hubert-large"),
    "wavlm-base": Preset(hub_id="microsoft/wavlm-base", architecture="wavlm-base", normalise=False),
    "wavlm-base-plus": Preset(hub_id="microsoft/wavlm-base-plus", architecture="wavlm-base", normalise=False),
    "wavlm-large": Preset(hub_id="microsoft/wavlm-large", architecture="wavlm-large"),
    "distilhubert": Preset(hub_id="ntu-spml/distilhubert", architecture="distilhubert"),
    "data2vec-audio-base": Preset(hub_id="facebook/data2vec-audio-base", architecture="data2vec-audio-base"),
    "xlsr-53-arabic-elgeish": Preset(hub_id="elgeish/wav2vec2-large-xlsr-53-arabic", architecture=_XLSR),
    "xlsr-arabic-othrif": Preset(hub_id="othrif/wav2vec2-large-xlsr-arabic", architecture=_XLSR),
    "xlsr-53-egyptian-zaid": Preset(hub_id="Zaid/wav2vec2-large-xlsr-53-arabic-egyptian", architecture=_XLSR),
    "hubert-tiny": Preset(hub_id=None, architecture="hubert-tiny"),
}


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model that was found.

    name: as the person typed it. hub_id: None unless it came from the hub. revision: the hub commit, or "".
    folder: where config and weights lie; None for random weights.
    config: transformers' configuration as a dict. normalise: whether the model expects unit-variance clips.
    """

    name: str
    hub_id: str | None
    revision: str
    folder: Path | None
    config: Mapping[str, Any]
    normalise: bool

    def architecture(self) -> str:
        """SHA-256 over the configuration's settings that decide a state."""
        kept = {k: self.config[k] for k in sorted(self.config) if k not in _NOT_ARCHITECTURE}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def weight_files(self) -> list[Path]:
        """Files with the tensors, safetensors first; empty for random weights. Raises ModelError."""
        if self.folder is None:
            return []
        for name in WEIGHT_FILES:
            index = self.folder / f"{name}.index.json"
            if index.is_file():
                return _listed(index)
            if (self.folder / name).is_file():
                return [self.folder / name]
        raise ModelError(
            f"no weights in {self.folder}", do=f"expected {' or '.join(WEIGHT_FILES)} beside config.json"
        )


# What transformers writes into a config beside the architecture: provenance and training-time settings.
_NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label", "label2id"}
    | {"vocab_size", "apply_spec_augment", "gradient_checkpointing", "use_weighted_layer_sum", "model_name"}
)


def canonical_name(name: str) -> str:
    """One name for one model, by which its states are filed: the preset's where there is one."""
    if name.startswith(RANDOM):
        return RANDOM + canonical_name(name.removeprefix(RANDOM))
    return next((known for known, preset in PRESETS.items() if preset.hub_id == name), name)


def is_folder(name: str) -> bool:
    """Whether a model's name means a local folder: it exists, or it can mean nothing else."""
    return Path(name).is_dir() or name.startswith((".", "/", "~")) or name.count("/") > 1


def find_model(name: str, *, revision: str | None = None, offline: bool = False) -> ModelSource:
    """Find a model's configuration and weights; those of the hub are downloaded unless `offline`.

    Raises ModelError if there is no such model or its architecture is not supported.
    """
    if name.startswith(RANDOM):
        return _random(name, revision=revision, offline=offline)
    if is_folder(name):
        if revision is not None:
            raise ModelError(
                f"--revision {revision} means nothing for the local folder {name}", do="leave it out"
            )
        return _from_folder(name, Path(name).expanduser(), hub_id=None, revision="")
    preset = PRESETS.get(name)
    hub_id = preset.hub_id if preset else name if name.count("/") == 1 else None
    if preset and hub_id is None:
        raise ModelError(f"{name} has no published weights", do=f"use {RANDOM}{name}")
    if hub_id is None:
        known = f"known names: {', '.join([*PRESETS, *ACOUSTIC])}"
        raise ModelError(f"no model named {name}", do=f"{known}; or OWNER/NAME, a local folder, {RANDOM}NAME")
    folder, commit = fetch_snapshot(hub_id, revision=revision, offline=offline)
    return _from_folder(name, folder, hub_id=hub_id, revision=commit)


def _random(name: str, *, revision: str | None, offline: bool) -> ModelSource:
    """The architecture of NAME: known here for a preset, else read from its config.json."""
    twin = name.removeprefix(RANDOM)
    preset = PRESETS.get(twin)
    if preset is not None:
        config = json.loads(ARCHITECTURES.read_text())[preset.architecture]
        return ModelSource(
            name=name, hub_id=None, revision="", folder=None, config=config, normalise=preset.normalise
        )
    if is_folder(twin):
        folder = Path(twin).expanduser()
    elif twin.count("/") == 1:
        folder, _ = fetch_snapshot(twin, revision=revision, offline=offline, weights=False)
    else:
        raise ModelError(f"no architecture named {twin}", do=f"known names: {', '.join(PRESETS)}")
    found = _from_folder(name, folder, hub_id=None, revision="")
    return ModelSource(
        name=name, hub_id=None, revision="", folder=None, config=found.config, normalise=found.normalise
    )


def _from_folder(name: str, folder: Path, *, hub_id: str | None, revision: str) -> ModelSource:
    config_file, processor_file = folder / "config.json", folder / "preprocessor_config.json"
    if not folder.is_dir():
        raise ModelError(
            f"no folder {folder}", do="give a folder that save_pretrained wrote, a preset or a hub id"
        )
    try:
        config = json.loads(config_file.read_text())
        processor = json.loads(processor_file.read_text()) if processor_file.is_file() else {}
    except FileNotFoundError as error:
        raise ModelError(
            f"no config.json in {folder}", do="give a folder that save_pretrained wrote"
        ) from error
    except (ValueError, OSError) as error:
        raise ModelError(f"unreadable configuration ({error})", where=str(folder)) from error
    if not isinstance(config, dict) or not isinstance(processor, dict):
        raise ModelError("unreadable configuration (no names and values)", where=str(folder))
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{name} is of type {family}", do=f"supported are {', '.join(FAMILIES)}")
    _check_shape(config, config_file)
    rate = processor.get("sampling_rate", RATE)
    if rate != RATE:
        raise ModelError(
            f"it hears sound of {rate} Hz",
            where=str(processor_file),
            do=f"only models of {RATE} Hz are supported",
        )
    # Wav2Vec2FeatureExtractor's own default where a checkpoint ships none.
    normalise = bool(processor.get("do_normalize", True))
    return ModelSource(
        name=name, hub_id=hub_id, revision=revision, folder=folder, config=config, normalise=normalise
    )


def _check_shape(config: Mapping[str, Any], file: Path) -> None:
    """Raises ModelError where a configuration does not tell of its layers and its convolutions in numbers."""
    told: dict[str, Any] = {name: [config.get(name)] for name in ("num_hidden_layers", "hidden_size")}
    told |= {name: config.get(name) for name in ("conv_dim", "conv_kernel", "conv_stride")}
    for name, values in told.items():
        if not isinstance(values, list) or not values or not all(type(n) is int and n > 0 for n in values):
            do = "take the config.json that save_pretrained wrote"
            raise ModelError(f"its {name} is {config.get(name, 'missing')}", where=str(file), do=do)
    if len({len(told[name]) for name in ("conv_dim", "conv_kernel", "conv_stride")}) > 1:
        raise ModelError("conv_dim, conv_kernel and conv_stride differ in length", where=str(file))


def _listed(index: Path) -> list[Path]:
    """The weight files that an index names. Raises ModelError where it cannot be read or one is not there."""
    try:
        files = [
            index.with_name(name)
            for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"unreadable index of the weights ({error})", where=str(index)) from error
    gone = [file.name for file in files if not file.is_file()]
    if gone:
        do = "its download or copy is incomplete"
        raise ModelError(
            f"{len(gone)} files of weights are missing, such as {gone[0]}", where=str(index), do=do
        )
    return files
