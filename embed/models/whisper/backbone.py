"""`WhisperBackbone`: the encoder of a Whisper model, whose padded batches equal their clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from layerprobe.embed.checkpoints.source import ModelSource, tensors_hash
from layerprobe.embed.config import RATE
from layerprobe.embed.models.device import HALF_TYPES
from layerprobe.embed.models.fused.blocks import FusedBlock
from layerprobe.embed.models.fused.half import half_copy
from layerprobe.embed.models.fused.packed import packing_helps
from layerprobe.embed.models.interface import Visit
from layerprobe.embed.models.layers import FINAL, layer_width
from layerprobe.embed.models.whisper.context import Context
from layerprobe.embed.models.whisper.encoder import ExactEncoder
from layerprobe.embed.models.whisper.settings import HOP, RECEPTIVE_FIELD, frame_count
from layerprobe.embed.models.whisper.weights import load_encoder


class WhisperBackbone:
    """A frozen Whisper encoder with the interface of a `Backbone`.

    The encoder receives each clip with some silence after it; only the clip's own frames are passed on.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        layers: Sequence[str],
        context: Context,
        device: torch.device,
        precision: str = "fp32",
        seed: int = 0,
    ) -> None:
        """Load the encoder, or for `random:` build it with weights drawn from `seed` on the CPU.

        Raises ModelError if the weights cannot be read or do not fit the configuration.
        """
        self.layers = tuple(layers)
        self.widths = tuple(layer_width(source.config, layer) for layer in layers)
        self.normalise = source.normalise
        self.frame_rate = RATE / HOP
        self.receptive_field = RECEPTIVE_FIELD / RATE
        self.device, self.precision, self.context = device, precision, context
        self.encoder = load_encoder(source, seed=seed)
        self.weights = tensors_hash(self.encoder.state_dict()) if source.folder is None else None
        if FINAL not in self.layers:  # blocks above the last selected layer are never computed
            deepest = max((int(name) for name in self.layers if name.isdigit()), default=0)
            del self.encoder.layers[deepest:]
        blocks = self.encoder.layers
        for number, block in enumerate(blocks):
            blocks[number] = FusedBlock.of_whisper(block)
        self.encoder.to(device)
        self._encoders = nn.ModuleDict({"fp32": self.encoder})
        self._exact: dict[str, ExactEncoder] = {}
        self._in_precision()  # now, so that copies of this backbone share the rounded weights
        if device.type == "cpu" and packing_helps(HALF_TYPES.get(precision, torch.float32)):
            encoder: Any = self._encoders[precision]
            for fused in encoder.layers:
                fused.pack()

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples` samples, without those of the silence after it."""
        return frame_count(samples)

    def processed(self, samples: int) -> int:
        """Samples that are computed for a clip of `samples` samples."""
        return self.context.samples(samples)

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """As `Backbone.run`."""
        samples = lengths.tolist()
        frames = torch.tensor([self.frames(n) for n in samples])
        encoder = self._in_precision()
        with torch.inference_mode():
            spectrum, steps = encoder.spectrum(waves, samples)
            encoder.encode(spectrum, steps, samples, lambda layer, states: visit(layer, states, frames))

    def _in_precision(self) -> ExactEncoder:
        """The encoder with weights in the precision of this run; fp32 is what overflowing clips need.

        Its positions, and so the states between its blocks, stay in fp32.
        """
        name = self.precision
        if name not in self._encoders:
            exact = [self.encoder.embed_positions, self.encoder.layer_norm]
            self._encoders[name] = half_copy(self.encoder, HALF_TYPES[name], exact=exact)
        if name not in self._exact:
            encoder: Any = self._encoders[name]
            self._exact[name] = ExactEncoder(
                encoder, context=self.context, layers=self.layers, device=self.device
            )
        return self._exact[name]
