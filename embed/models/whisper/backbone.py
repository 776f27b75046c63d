"""`WhisperBackbone`: the encoder of a Whisper model, whose padded batches equal their clips."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from layerprobe.embed.checkpoints.source import ModelSource, tensors_hash
from layerprobe.embed.config import RATE
from layerprobe.embed.models.device import AUTOCAST_DTYPES
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
        self.encoder.to(device)
        self._encoder = ExactEncoder(self.encoder, context=context, layers=layers, device=device)

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples` samples, without those of the silence after it."""
        return frame_count(samples)

    def processed(self, samples: int) -> int:
        """Samples that are computed for a clip of `samples` samples."""
        return self.context.samples(samples)

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """As `Backbone.run`."""
        samples = lengths.tolist()
        frames = torch.tensor([self.frames(n) for n in samples], device=self.device)
        dtype = AUTOCAST_DTYPES.get(self.precision)
        autocast = torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()
        with torch.inference_mode():
            spectrum, steps = self._encoder.spectrum(waves, samples)
            with autocast:
                self._encoder.encode(
                    spectrum, steps, samples, lambda layer, states: visit(layer, states, frames)
                )
