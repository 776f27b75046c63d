"""The encoder of a Whisper checkpoint, without its decoder: tensors read by name and checked."""

from __future__ import annotations

import zipfile
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from layerprobe.cache.common.errors import ModelError
from layerprobe.cache.common.text import first_line
from layerprobe.embed.checkpoints.source import ModelSource

# The encoder's tensors in WhisperModel and WhisperForAudioClassification, and in
# WhisperForConditionalGeneration, which holds a WhisperModel.
PREFIXES = ("encoder.", "model.encoder.")


def load_encoder(source: ModelSource, *, seed: int) -> Any:
    """transformers' WhisperEncoder, frozen, in fp32 and evaluation mode.

    Its tensors come from the source's files, or for `random:` from `seed`. Tensors of a decoder or a
    classification head are not read. Raises ModelError if the files cannot be read, or if the encoder's
    tensors in them are not exactly those of the configuration.
    """
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    settings = {name: value for name, value in source.config.items() if name != "model_type"}
    unfilled = nullcontext() if source.folder is None else torch.device("meta")
    with torch.random.fork_rng(devices=[]), unfilled:
        torch.manual_seed(seed)
        try:
            encoder = WhisperEncoder(WhisperConfig(**settings))
        except (KeyError, ValueError, TypeError) as error:
            what = f"transformers cannot build its encoder ({first_line(error)})"
            raise ModelError(what, where=source.name) from error
    if source.folder is not None:
        tensors: dict[str, torch.Tensor] = {}
        for file in source.weight_files():
            tensors |= _read(file)
        _check(tensors, encoder.state_dict(), where=str(source.folder))
        encoder.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return encoder.eval().requires_grad_(False)


def _read(file: Path) -> dict[str, torch.Tensor]:
    """The encoder's tensors of one file, by their names in the encoder. Raises ModelError."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as tensors:
                names = tensors.keys()
                return {own: tensors.get_tensor(name) for name in names if (own := _own_name(name))}
        mapped = zipfile.is_zipfile(file)  # only this format can be read in parts
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
        return {own: tensor for name, tensor in loaded.items() if (own := _own_name(name))}
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        EOFError,
        AttributeError,
        SafetensorError,
        UnpicklingError,
    ) as error:
        raise ModelError(f"cannot load the weights ({first_line(error)})", where=str(file)) from error


def _own_name(name: str) -> str | None:
    """A tensor's name inside the encoder; None for tensors of other parts."""
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
    return None if prefix is None else name.removeprefix(prefix)


def _check(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, where: str) -> None:
    """Raise ModelError unless names and shapes are those of the configuration, and all are floating."""
    other = "the file belongs to another configuration, or its download is incomplete"
    if missing := sorted(expected.keys() - tensors.keys()):
        what = f"{len(missing)} tensors of the encoder are missing from the weights, such as {missing[0]}"
        raise ModelError(what, where=where, do=other)
    if unused := sorted(tensors.keys() - expected.keys()):
        what = f"{len(unused)} tensors of the encoder have no place in its configuration, such as {unused[0]}"
        raise ModelError(what, where=where, do=other)
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            found, right = tuple(tensor.shape), tuple(expected[name].shape)
            raise ModelError(
                f"{name} has shape {found}, and the configuration {right}", where=where, do=other
            )
        if not tensor.is_floating_point():
            do = "take weights that are not quantised"
            raise ModelError(f"{name} has the type {tensor.dtype}", where=where, do=do)
