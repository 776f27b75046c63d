"""The wav2vec 2.0 family as backbones: wav2vec2, HuBERT, WavLM, data2vec, UniSpeech-SAT, Conformer, SEW."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from layerprobe.embed.checkpoints.loading import load_model
from layerprobe.embed.checkpoints.source import ModelSource, tensors_hash
from layerprobe.embed.config import RATE
from layerprobe.embed.models.device import HALF_TYPES, to_device
from layerprobe.embed.models.exact_batching import ExactBatch
from layerprobe.embed.models.fused.lengths import BatchLengths, is_beyond
from layerprobe.embed.models.fused.model import FusedModel
from layerprobe.embed.models.fused.packed import packing_helps
from layerprobe.embed.models.interface import Visit
from layerprobe.embed.models.layers import (
    CNN,
    FINAL,
    frame_count,
    hop,
    layer_names,
    layer_width,
    receptive_field,
)

Emit = Callable[[str, torch.Tensor], None]


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
        self._front_frames = partial(frame_count, {**config, "squeeze_factor": 1})
        self.model = load_model(source, seed=seed)
        # Hashed before weight norm is folded: the last bit of the folded sums depends on the thread count.
        self.weights = tensors_hash(self.model.state_dict()) if source.folder is None else None
        _fold_weight_norm(self.model)
        if FINAL not in self.layers:
            deepest = max((int(name) for name in self.layers if name.isdigit()), default=0)
            del self.blocks[max(deepest, 1) :]  # never computed, so not held in memory either
        self._prepare(pre_norm=FINAL in layer_names(config))

    def processed(self, samples: int) -> int:
        """As `Backbone.processed`: the clip alone."""
        return samples

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """As `Backbone.run`."""
        samples = lengths.tolist()
        own = BatchLengths(samples, [self.frames(n) for n in samples], self.device)
        with torch.inference_mode():
            self._forward(waves, own, lambda layer, states: visit(layer, states, own.frame_counts))

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks."""
        blocks: nn.ModuleList = self.model.encoder.layers
        return blocks

    def _prepare(self, *, pre_norm: bool) -> None:
        """Change the loaded model so that padding cannot affect a clip's own frames, and move it."""
        fused = FusedModel(self.model, layers=self.layers, pre_norm=pre_norm).to(self.device)
        self._models = nn.ModuleDict({"fp32": fused})
        model = self._in_precision()  # now, so that copies of this backbone share the rounded weights
        if self.device.type == "cpu" and packing_helps(HALF_TYPES.get(self.precision, torch.float32)):
            for block in model.blocks:
                block.pack()

    def _in_precision(self) -> FusedModel:
        """The model with weights in the precision of this run; fp32 is what overflowing clips need."""
        if self.precision not in self._models:
            fp32: Any = self._models["fp32"]
            self._models[self.precision] = fp32.in_half(HALF_TYPES[self.precision])
        model: Any = self._models[self.precision]
        return model

    def _forward(self, waves: torch.Tensor, lengths: BatchLengths, emit: Emit) -> None:
        """waves (B, T) → emit(layer, states (B, F, D)) for each layer, in order."""
        self._in_precision()(waves, lengths, emit)


class _StopForward(Exception):  # noqa: N818 — control flow, not an error
    """Raised by a hook after the last selected layer, so that no further block is computed."""


class HookedBackbone(TransformerBackbone):
    """A model that transformers itself runs, with hooks that pass the states on: Conformers.

    In half precision by autocast.
    """

    def _prepare(self, *, pre_norm: bool) -> None:
        del pre_norm  # transformers' blocks know it
        self.model.to(self.device)
        self._emit_states: Emit | None = None
        self._make_exact()
        self._register_hooks()

    def _make_exact(self) -> None:
        self._exact = ExactBatch(self.model)

    def _forward(self, waves: torch.Tensor, lengths: BatchLengths, emit: Emit) -> None:
        self._emit_states = emit
        dtype = HALF_TYPES.get(self.precision)
        autocast = torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()
        try:
            with suppress(_StopForward), autocast:
                self._run_model(waves, lengths)
        finally:
            self._emit_states = None

    def _run_model(self, waves: torch.Tensor, lengths: BatchLengths) -> None:
        """Run the model; hooks pass its states on. waves (B, T)."""
        mask = None
        if min(lengths.samples) < waves.shape[1]:
            mask = ~is_beyond(waves.shape[1], lengths.samples_on_device)
            self._exact.set(lengths)
        self._forget_positions()
        try:
            self.model(waves, attention_mask=mask)
        finally:
            self._exact.set(None)

    def _forget_positions(self) -> None:
        """Have the positional embeddings of a Conformer computed anew, in the precision of this run.

        It keeps those of its last run, rounded to that run's precision.
        """
        positions: Any = getattr(self.model.encoder, "embed_positions", None)
        if hasattr(positions, "cached_sequence_length"):
            positions.cached_sequence_length = None
        if hasattr(positions, "extend_pe"):
            positions.pe = torch.empty(1, 0, 0, device=self.device)

    def _register_hooks(self) -> None:
        """Use hooks, not `output_hidden_states`: its last entry changed between transformers 4 and 5.

        Bound methods, so that a deep copy of the backbone has hooks of its own.
        """
        blocks = self.blocks
        if FINAL in self.layers:
            self.model.encoder.layer_norm.register_forward_hook(partial(self._after, FINAL))
        if CNN in self.layers:
            self.model.feature_extractor.register_forward_hook(partial(self._after, CNN))
        if "0" in self.layers:
            blocks[0].register_forward_pre_hook(self._before_first, with_kwargs=True)
        for k, block in enumerate(blocks, start=1):
            if str(k) in self.layers:
                block.register_forward_hook(partial(self._after, str(k)))

    def _before_first(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._emit("0", args[0] if args else kwargs["hidden_states"])

    def _after(self, layer: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        self._emit(layer, states.transpose(1, 2) if layer == CNN else states)

    def _emit(self, layer: str, states: torch.Tensor) -> None:
        if self._emit_states is None:
            raise RuntimeError("the model was called outside Backbone.run")
        self._emit_states(layer, states)
        if layer == self.layers[-1]:
            raise _StopForward


class SewBackbone(HookedBackbone):
    """SEW and SEW-D (Wu et al., 2021): their blocks process `squeeze_factor` frames of the front end as one.

    The model's own forward pass is not used: its attention mask counts a frame made of one real and one
    padded frame as real, which a clip alone does not have.
    """

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks."""
        encoder = self.model.encoder
        blocks: nn.ModuleList = encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layer
        return blocks

    def _run_model(self, waves: torch.Tensor, lengths: BatchLengths) -> None:
        from transformers.masking_utils import create_bidirectional_mask  # slow to import

        model, encoder = self.model, self.model.encoder
        padded = min(lengths.samples) < waves.shape[1]
        try:
            if padded:
                self._exact.set(lengths)
            features = model.layer_norm(model.feature_extractor(waves).transpose(1, 2))
        finally:
            self._exact.set(None)
        hidden = model.feature_projection(features) if model.project_features else features
        if padded:  # zero like the padding of the positional convolution
            own = to_device(torch.tensor([self._front_frames(n) for n in lengths.samples]), self.device)
            hidden = hidden.masked_fill(is_beyond(hidden.shape[1], own)[:, :, None], 0.0)
        hidden = hidden.transpose(1, 2)
        pooled = encoder.pool(hidden)
        states = (pooled + encoder.pos_conv_embed(hidden)[..., : pooled.shape[-1]]).transpose(1, 2)
        mask = ~is_beyond(states.shape[1], lengths.frames_on_device)
        if hasattr(encoder, "encoder"):
            encoder.encoder(states, mask.long())
            return
        states = encoder.layer_norm(states)
        attention = create_bidirectional_mask(
            config=model.config, inputs_embeds=states, attention_mask=mask if padded else None
        )
        for block in self.blocks:
            states = block(states, attention_mask=attention)


def _fold_weight_norm(model: Any) -> None:
    """Compute the weight-normalised kernel of the positional convolution once instead of in every pass."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
