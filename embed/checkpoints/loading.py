"""Load a checkpoint as transformers' base model, frozen; every tensor of the encoder must fit and be used."""

from __future__ import annotations

import pickle
import re
import warnings
from typing import Any

import torch

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.configuration import CONFIG, fetch_again, model_settings
from layerprobe.embed.checkpoints.source import ModelSource

# Tensors that older versions of transformers saved although the configuration determines them.
_CONSTANTS = re.compile(r"(inv_freq|\.pe|position_ids|num_batches_tracked)$")
# Modules after the encoder: no layer comes from them.
_AFTER = frozenset({"adapter", "intermediate_ffn"})


def random_model(source: ModelSource, *, seed: int) -> Any:
    """The source's architecture with randomly initialised weights, reproducible from the seed."""
    from transformers import AutoModel

    config = build_config(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(config)


def load_model(source: ModelSource, *, seed: int) -> Any:
    """transformers' base model, frozen, in fp32 and evaluation mode.

    Raises ModelError if the configuration cannot be used, or if the weights cannot be read or do not fit it.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # no warning about the unused head of a CTC checkpoint
    logging.disable_progress_bar()
    # WavLM passes a boolean padding mask with an additive position bias; torch handles the mix correctly.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    if source.folder is None:
        return random_model(source, seed=seed).eval().requires_grad_(False)
    config = build_config(source)
    file = source.weight_files()[0]
    try:
        model, loading = AutoModel.from_pretrained(
            source.folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=file.suffix == ".safetensors",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with names and shapes
        )
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can fail in any of the libraries that read it
        raise ModelError(
            f"cannot load the weights ({_reason(error)})", where=str(file), do=fetch_again(file)
        ) from error
    _check_tensors(model, loading, where=str(source.folder))
    return model.eval().requires_grad_(False)


def build_config(source: ModelSource) -> Any:
    """transformers' configuration object. Raises ModelError if a setting has the wrong type or value."""
    from transformers import AutoConfig

    try:
        return AutoConfig.for_model(**model_settings(source.config))
    except Exception as error:  # its validators raise errors of many types
        where = source.name if source.folder is None else str(source.folder / CONFIG)
        do = "take the config.json that save_pretrained wrote"
        raise ModelError(f"unusable configuration ({_reason(error)})", where=where, do=do) from error


def _check_tensors(model: Any, loading: Any, *, where: str) -> None:
    """Raise ModelError unless file and model hold the same tensors of the encoder, in the same shapes."""
    do = "the file belongs to another configuration, or its download is incomplete"
    mismatched = sorted(loading["mismatched_keys"])
    if mismatched:
        name, in_file, in_model = mismatched[0]
        what = (
            f"{len(mismatched)} tensors have another shape than the configuration gives them, such as {name} "
            f"({tuple(in_file)} in the file, {tuple(in_model)} in the model)"
        )
        raise ModelError(what, where=where, do=do)
    # masked_spec_embed is used only by SpecAugment in training, and many checkpoints omit it.
    missing = sorted(name for name in loading["missing_keys"] if not name.endswith("masked_spec_embed"))
    if missing:
        raise ModelError(
            f"{len(missing)} tensors are missing from the weights, such as {missing[0]}", where=where, do=do
        )
    encoder = {name for name, _ in model.named_children()} - _AFTER
    prefix = f"{model.base_model_prefix}."
    unused = sorted(
        name
        for name in loading["unexpected_keys"]
        if name.removeprefix(prefix).partition(".")[0] in encoder and not _CONSTANTS.search(name)
    )
    if unused:
        what = f"the configuration leaves {len(unused)} tensors of the encoder unused, such as {unused[0]}"
        raise ModelError(
            what, where=where, do="config.json belongs to other weights: take the one next to them"
        )


def _reason(error: Exception) -> str:
    """What an error says, in one line; transformers' validators put the fault on their second line."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is no file of tensors, or holds more than tensors"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    detail = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return re.sub(r"^\w+Error: ", "", detail)[:200]
