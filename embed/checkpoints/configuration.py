"""Read a checkpoint's configuration: its architecture and how clips must be prepared, checked before use.

Nothing is guessed: a checkpoint that does not say whether it expects normalised clips is refused, with the
name of the file to add.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.config import RATE

CONFORMER = "wav2vec2-conformer"
WAV2VEC2_LIKE = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat", CONFORMER)
SEW = ("sew", "sew-d")
WAV2VEC2_BERT = "wav2vec2-bert"
WHISPER = "whisper"
FAMILIES = (*WAV2VEC2_LIKE, *SEW, WAV2VEC2_BERT, WHISPER)

CONFIG = "config.json"
# In the order in which transformers reads them; the first two hold the settings below a key.
PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
_NESTED = ("feature_extractor", "audio_processor")

_FOLDER = "give a folder that save_pretrained wrote, a preset or a hub id"
_SAVED = "take the config.json that save_pretrained wrote"
# Larger than any published speech model: sizes beyond these are damaged files, not models.
_MOST_LAYERS, _MOST_PARAMETERS, _LARGEST_SIZE, _LONGEST_KERNEL = 1_000, 50e9, 10_000_000, 10_000
MEL_BINS, MEL_STACK = 80, 2  # of w2v-bert-2.0: the only front end of its family that is supported
# Settings of heads, of training and of loading: a null or wrong value in them changes no hidden state.
_KERNELS = ("conv_kernel", "conv_stride", "num_conv_pos_embeddings", "conv_depthwise_kernel_size")
_UNUSED = frozenset(
    {"vocab_size", "layerdrop", "classifier_proj_size", "num_feat_extract_layers", "dtype", "torch_dtype"}
    | {"attn_implementation", "_attn_implementation", "architectures", "final_dropout", "hidden_dropout"}
    | {"activation_dropout", "attention_dropout", "feat_proj_dropout", "feat_quantizer_dropout"}
    | {"conformer_conv_dropout", "ctc_loss_reduction", "ctc_zero_infinity", "pad_token_id", "bos_token_id"}
    | {"eos_token_id", "num_negatives", "codevector_dim", "proj_codevector_dim", "diversity_loss_weight"}
    | {"num_codevectors_per_group", "num_codevector_groups", "contrastive_logits_temperature"}
    | {"tdnn_dim", "tdnn_kernel", "tdnn_dilation", "xvector_output_dim", "use_weighted_layer_sum"}
    | {"num_clusters", "num_ctc_classes", "replace_prob", "apply_spec_augment", "quantization_config"}
)
_LOADING = frozenset(
    {"attn_implementation", "_attn_implementation", "num_feat_extract_layers", "dtype", "torch_dtype"}
)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file, with or without a byte order mark.

    Raises FileNotFoundError, and ModelError for anything that is not a JSON object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(
            f"unreadable configuration ({error})", where=str(file), do=fetch_again(file)
        ) from error
    if not isinstance(value, dict):
        raise ModelError("unreadable configuration (not a JSON object)", where=str(file))
    return value


def fetch_again(file: Path) -> str:
    """Advice for a damaged file: in the hub's cache, its blob must be deleted before it is fetched again."""
    blob = file.resolve()
    if blob.parent.name == "blobs":
        return f"delete {blob} and run this again to download it"
    return "download or copy it again"


def read_config(folder: Path, *, name: str) -> dict[str, Any]:
    """The checked config.json in a folder. name: the model as the user wrote it. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"no folder {folder}", do=_FOLDER)
    file = folder / CONFIG
    try:
        config = read_json(file)
    except FileNotFoundError as error:
        raise ModelError(
            f"no config.json in {folder}", do="give a folder that save_pretrained wrote"
        ) from error
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{name} is of type {family}", do=f"supported are {', '.join(FAMILIES)}")
    if config.get("quantization_config"):
        do = "take the checkpoint with float weights"
        raise ModelError("its weights are quantised", where=str(file), do=do)
    if family != WHISPER:  # whose encoder `models.whisper.settings` checks
        _check_shape(config, file)
    _check_size(config, file)
    return config


def read_feature_extractor(folder: Path) -> dict[str, Any]:
    """The feature extractor's settings, from the file that transformers prefers; {} if there is none."""
    return next(iter(_feature_extractors(folder).values()), {})


def model_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings from which transformers builds the model.

    Left out: how to load it (attention implementation, dtype), which is decided here; counts that follow from
    other settings; and null where it concerns a head or training only.
    """
    return {
        name: value
        for name, value in config.items()
        if name not in _LOADING and not (value is None and name in _UNUSED)
    }


def read_normalisation(folder: Path, config: Mapping[str, Any], *, default: bool | None) -> bool:
    """Whether the model expects clips of mean 0 and variance 1; also checks the sampling rate.

    default: used if neither preprocessor_config.json nor processor_config.json says it; None: there is none.
    Raises ModelError for settings that cannot be met, that contradict each other, or that are missing.
    """
    settings = _feature_extractors(folder)
    for file, values in settings.items():
        _check_rate(values, file)
    if config["model_type"] == WAV2VEC2_BERT:
        for file, values in settings.items():
            _check_mels(values, file)
        return False  # its log-mel features are normalised instead
    # Where a file lacks the key, the feature extractor's own default applies: Whisper's does not normalise.
    usual = config["model_type"] != WHISPER
    if not usual and not settings:
        return False
    choices = {file: _flag(values.get("do_normalize", usual), file) for file, values in settings.items()}
    if len(set(choices.values())) > 1:
        files = " and ".join(file.name for file in choices)
        raise ModelError(
            f"{files} disagree about do_normalize", where=str(folder), do="delete the one that is wrong"
        )
    if choices:
        return next(iter(choices.values()))
    if default is not None:
        return default
    raise ModelError(
        f"neither {PREPROCESSOR} nor {PROCESSOR} says whether the model expects normalised clips",
        where=str(folder),
        do=f'add {PREPROCESSOR} from the model\'s page, or write {{"do_normalize": true, "sampling_rate": '
        f"{RATE}}} into it (false for a model trained on raw audio)",
    )


def _feature_extractors(folder: Path) -> dict[Path, dict[str, Any]]:
    """The feature extractor's settings, by the file that holds them."""
    found: dict[Path, dict[str, Any]] = {}
    for file in (folder / PROCESSOR, folder / PREPROCESSOR):
        try:
            values = read_json(file)
        except FileNotFoundError:
            continue
        if file.name == PROCESSOR:
            nested = next((values[key] for key in _NESTED if values.get(key) is not None), None)
            if nested is None:  # written by transformers 4: it names classes only
                continue
            values = nested
        if not isinstance(values, dict):
            raise ModelError("unreadable configuration (not a JSON object)", where=str(file))
        found[file] = values
    return found


def _check_rate(values: Mapping[str, Any], file: Path) -> None:
    rate = values.get("sampling_rate", RATE)
    try:
        known = not isinstance(rate, bool) and float(rate) == RATE
    except (TypeError, ValueError):
        known = False
    if not known:
        do = f"only models of {RATE} Hz are supported"
        raise ModelError(f"it expects audio at {rate} Hz", where=str(file), do=do)


def _check_mels(values: Mapping[str, Any], file: Path) -> None:
    for name, expected in (("num_mel_bins", MEL_BINS), ("stride", MEL_STACK)):
        if values.get(name, expected) != expected:
            do = f"only models with {name} {expected} are supported"
            raise ModelError(f"its {name} is {values[name]}", where=str(file), do=do)


def _flag(value: object, file: Path) -> bool:
    flags = {"true": True, "false": False, "1": True, "0": False}
    text = str(value).strip().lower()
    if text not in flags:
        raise ModelError(f"its do_normalize is {value}", where=str(file), do="write true or false")
    return flags[text]


def _check_shape(config: Mapping[str, Any], file: Path) -> None:
    """Raise ModelError unless sizes and convolutions are given as positive integers."""
    family = config["model_type"]
    shape: dict[str, Any] = {name: [config.get(name)] for name in ("num_hidden_layers", "hidden_size")}
    convolutions = () if family == WAV2VEC2_BERT else ("conv_dim", "conv_kernel", "conv_stride")
    shape |= {name: config.get(name) for name in convolutions}
    if family in SEW:
        shape["squeeze_factor"] = [config.get("squeeze_factor", 2)]
    for name, values in shape.items():
        if not isinstance(values, list) or not values or not all(type(n) is int and n > 0 for n in values):
            raise ModelError(f"its {name} is {config.get(name, 'missing')}", where=str(file), do=_SAVED)
    if len({len(shape[name]) for name in convolutions}) > 1:
        raise ModelError("conv_dim, conv_kernel and conv_stride differ in length", where=str(file))
    if family == WAV2VEC2_BERT and config.get("feature_projection_input_dim", 160) != MEL_BINS * MEL_STACK:
        size = config["feature_projection_input_dim"]
        do = f"only {MEL_BINS * MEL_STACK} is supported: {MEL_STACK} frames of {MEL_BINS} mel bins"
        raise ModelError(f"its feature_projection_input_dim is {size}", where=str(file), do=do)


def _check_size(config: Mapping[str, Any], file: Path) -> None:
    """Raise ModelError for sizes that no speech model has, before anything is allocated for them."""
    for name, value in config.items():
        values = value if isinstance(value, list) else [value]
        largest = max((n for n in values if type(n) is int), default=0)
        limit = _LONGEST_KERNEL if name in _KERNELS else _LARGEST_SIZE
        if name not in _UNUSED and largest > limit:
            raise ModelError(f"its {name} is {largest}, which no model has", where=str(file), do=_SAVED)
    names = ("num_hidden_layers", "hidden_size", "intermediate_size")
    if config["model_type"] == WHISPER:
        names = ("encoder_layers", "d_model", "encoder_ffn_dim")
    layers, width, inner = (size if type(size := config.get(name)) is int else 0 for name in names)
    parameters = layers * width * (4 * width + 2 * inner)
    kernels = [*config.get("conv_kernel", []), config.get("num_conv_pos_embeddings", 0)]
    channels = max([width, *config.get("conv_dim", [])])
    parameters += sum(n for n in kernels if type(n) is int) * channels * channels
    if layers > _MOST_LAYERS or parameters > _MOST_PARAMETERS:
        size = f"{layers:,} layers of width {width:,} ({parameters:.0e} parameters)"
        what = f"it describes {size}, which no model has"
        raise ModelError(what, where=str(file), do=_SAVED)
