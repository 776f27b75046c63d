"""Backbones: frozen models that pass every layer's states of a batch to a visitor, one layer at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils import parametrize

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.config import CLIP_CONTEXT, RATE, EmbedConfig
from layerprobe.embed.models.acoustic import AcousticBackbone
from layerprobe.embed.models.device import (
    AUTOCAST_DTYPES,
    describe_device,
    find_device,
    find_precision,
    keep_freed_memory,
    versions,
)
from layerprobe.embed.models.exact_batching import ExactBatch
from layerprobe.embed.models.interface import Backbone, Visit
from layerprobe.embed.models.layers import (
    CNN,
    FINAL,
    frame_count,
    hop,
    layer_names,
    layer_width,
    parse_layers,
    receptive_field,
)
from layerprobe.embed.models.presets import ACOUSTIC_PRESETS, canonical_name
from layerprobe.embed.models.sources import ModelSource, files_hash, find_model, tensors_hash
from layerprobe.embed.models.whisper.backbone import WhisperBackbone
from layerprobe.embed.models.whisper.context import find_context
from layerprobe.embed.models.whisper.settings import WHISPER


def open_backbone(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """Load the configured model onto its device; also return the identity of the states it computes.

    Acoustic features run on the CPU in fp32, whatever device and precision are configured. Raises InputError
    if the model, its layers or the device are not available.
    """
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    backbone: Backbone
    context = ""
    if config.model in ACOUSTIC_PRESETS:
        settings = ACOUSTIC_PRESETS[config.model]
        backbone = AcousticBackbone(settings)
        parse_layers(config.layers, backbone.layers)
        revision, weights, precision = "", "none", "fp32"
        architecture = settings.architecture()
    else:
        source = find_model(config.model, revision=config.revision)
        layers = parse_layers(config.layers, layer_names(source.config), also=(CNN,))
        precision = find_precision(config.precision, device)
        transformer: TransformerBackbone | WhisperBackbone
        if source.config["model_type"] == WHISPER:
            silence = find_context(config, positions=source.config["max_source_positions"])
            context = silence.identity
            transformer = WhisperBackbone(
                source, layers=layers, context=silence, device=device, precision=precision, seed=config.seed
            )
        else:
            transformer = TransformerBackbone(
                source, layers=layers, device=device, precision=precision, seed=config.seed
            )
        backbone = transformer
        revision, architecture = source.revision, source.architecture()
        weights = transformer.weights or files_hash(source, config.cache)
    if not context and config.whisper_context != CLIP_CONTEXT:
        what = f"--whisper-context applies to Whisper models, and {config.model} is of another type"
        raise InputError(what, do="leave it out")
    return backbone, Extraction(
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
        context=context,
        notes={"seed": config.seed, "device": describe_device(backbone.device), "versions": versions()},
    )


class _StopForward(Exception):  # noqa: N818 — control flow, not an error
    """Raised by a hook after the last selected layer, so that no further block is computed."""


class TransformerBackbone:
    """A frozen wav2vec2-family model whose padded batches equal their clips (see `exact_batching`)."""

    def __init__(
        self,
        source: ModelSource,
        *,
        layers: Sequence[str],
        device: torch.device,
        precision: str = "fp32",
        seed: int = 0,
    ) -> None:
        """Load the model, or for `random:` build it with weights drawn from `seed` on the CPU.

        Raises ModelError if the weights cannot be read or do not fit the configuration.
        """
        config = source.config
        self.layers = tuple(layers)
        self.widths = tuple(layer_width(config, layer) for layer in layers)
        self.normalise = source.normalise
        self.frame_rate = RATE / hop(config)
        self.receptive_field = receptive_field(config) / RATE
        self.device, self.precision = device, precision
        self.frames = partial(frame_count, config)
        self.model = load_model(source, seed=seed)
        # Hashed before weight norm is folded: the last bit of the folded sums depends on the thread count.
        self.weights = tensors_hash(self.model.state_dict()) if source.folder is None else None
        _fold_weight_norm(self.model)
        self.model.to(device)
        self._exact = ExactBatch(self.model)
        self._visit: Callable[[str, torch.Tensor], None] | None = None
        self._register_hooks()

    def processed(self, samples: int) -> int:
        """As `Backbone.processed`: the clip alone."""
        return samples

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """As `Backbone.run`."""
        frames = torch.tensor([self.frames(n) for n in lengths.tolist()], device=self.device)
        lengths = lengths.to(self.device)
        padded = bool((lengths < waves.shape[1]).any())
        mask = torch.arange(waves.shape[1], device=self.device) < lengths[:, None] if padded else None
        self._visit = lambda layer, states: visit(layer, states, frames)
        if padded:
            self._exact.set(lengths, frames)
        dtype = AUTOCAST_DTYPES.get(self.precision)
        autocast = torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()
        try:
            with suppress(_StopForward), torch.inference_mode(), autocast:
                self.model(waves, attention_mask=mask)
        finally:
            self._visit = None
            self._exact.set(None, None)

    def _register_hooks(self) -> None:
        """Use hooks, not `output_hidden_states`: its last entry changed between transformers 4 and 5."""
        blocks = self.model.encoder.layers
        deepest = max((int(name) for name in self.layers if name.isdigit()), default=0)
        if FINAL in self.layers:
            self.model.encoder.layer_norm.register_forward_hook(self._after(FINAL))
        else:
            del blocks[max(deepest, 1) :]  # never computed, so not held in memory either
        if CNN in self.layers:
            self.model.feature_extractor.register_forward_hook(self._after(CNN))
        if "0" in self.layers:

            def before_first(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                self._emit("0", args[0] if args else kwargs["hidden_states"])

            blocks[0].register_forward_pre_hook(before_first, with_kwargs=True)
        for k, block in enumerate(blocks, start=1):
            if str(k) in self.layers:
                block.register_forward_hook(self._after(str(k)))

    def _after(self, layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            self._emit(layer, states.transpose(1, 2) if layer == CNN else states)

        return hook

    def _emit(self, layer: str, states: torch.Tensor) -> None:
        if self._visit is None:
            raise RuntimeError("the model was called outside Backbone.run")
        self._visit(layer, states)
        if layer == self.layers[-1]:
            raise _StopForward


def random_model(source: ModelSource, *, seed: int) -> Any:
    """The source's architecture with randomly initialised weights, reproducible from the seed."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**source.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(config)


def load_model(source: ModelSource, *, seed: int) -> Any:
    """transformers' base model, frozen, in fp32 and evaluation mode.

    Raises ModelError if the weights cannot be read or do not fit the configuration.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # no warning about the unused head of a CTC checkpoint
    logging.disable_progress_bar()
    # WavLM passes a boolean padding mask with an additive position bias; torch handles the mix correctly.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    if source.folder is None:
        return random_model(source, seed=seed).eval().requires_grad_(False)
    safe = source.weight_files()[0].suffix == ".safetensors"
    try:
        model, loading = AutoModel.from_pretrained(
            source.folder, dtype=torch.float32, use_safetensors=safe, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError, UnpicklingError) as error:
        why = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"cannot load the weights ({why})", where=str(source.folder)) from error
    # masked_spec_embed is used only by SpecAugment in training, and many checkpoints omit it.
    missing = sorted(name for name in loading["missing_keys"] if not name.endswith("masked_spec_embed"))
    if missing:
        raise ModelError(
            f"{len(missing)} tensors are missing from the weights, such as {missing[0]}",
            where=str(source.folder),
            do="the file belongs to another configuration, or its download is incomplete",
        )
    return model.eval().requires_grad_(False)


def _fold_weight_norm(model: Any) -> None:
    """Compute the weight-normalised kernel of the positional convolution once instead of in every pass."""
    for module in model.encoder.pos_conv_embed.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
