"""`WhisperBackbone`: the encoder of a Whisper model, whose padded batches equal their clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch.nn.functional import gelu

from layerprobe.embed.checkpoints.source import ModelSource, tensors_hash
from layerprobe.embed.config import RATE
from layerprobe.embed.models.device import AUTOCAST_DTYPES
from layerprobe.embed.models.interface import Visit
from layerprobe.embed.models.layers import CNN, FINAL, layer_width
from layerprobe.embed.models.whisper.context import Context
from layerprobe.embed.models.whisper.log_mel import LogMel
from layerprobe.embed.models.whisper.settings import HOP, RECEPTIVE_FIELD, frame_count
from layerprobe.embed.models.whisper.weights import load_encoder


class WhisperBackbone:
    """A frozen Whisper encoder with the interface of a `Backbone`.

    The encoder receives each clip with some silence after it (see `context`); only the clip's own frames are
    passed on. Padding cannot affect a clip: its spectrum has its own range, what is beyond a clip and its
    silence is zero before each convolution, as the convolutions pad, and attention is masked.
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
        self._log_mel = LogMel(source.config["num_mel_bins"], device=device)

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples` samples, without those of the silence after it."""
        return frame_count(samples)

    def processed(self, samples: int) -> int:
        """Samples that are computed for a clip of `samples` samples."""
        return self.context.samples(samples)

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """As `Backbone.run`."""
        samples = lengths.tolist()
        contexts = [self.context.samples(n) for n in samples]
        counts = [self.frames(n) for n in samples]
        frames = torch.tensor(counts, device=self.device)
        dtype = AUTOCAST_DTYPES.get(self.precision)
        autocast = torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()
        with torch.inference_mode():
            spectrum, steps = self._log_mel(waves, samples, contexts)
            with autocast:
                self._encode(
                    spectrum, steps, lambda layer, states: visit(layer, states[:, : max(counts)], frames)
                )

    def _encode(
        self, spectrum: torch.Tensor, steps: torch.Tensor, emit: Callable[[str, torch.Tensor], None]
    ) -> None:
        """spectrum (B, mels, M), zero beyond steps (B,) → emit(layer, states (B, F, D)) for each layer."""
        encoder = self.encoder
        hidden = gelu(encoder.conv1(spectrum))
        hidden = hidden.masked_fill(_beyond(hidden.shape[2], steps)[:, None], 0.0)
        hidden = gelu(encoder.conv2(hidden)).transpose(1, 2)
        beyond = _beyond(hidden.shape[1], (steps + 1) // 2)
        mask = ~beyond[:, None, None] if bool(beyond.any()) else None
        if CNN in self.layers:
            emit(CNN, hidden)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        if "0" in self.layers:
            emit("0", hidden)
        for k, block in enumerate(encoder.layers, start=1):
            hidden = block(hidden, mask)
            if str(k) in self.layers:
                emit(str(k), hidden)
        if FINAL in self.layers:
            emit(FINAL, encoder.layer_norm(hidden))


def _beyond(length: int, counts: torch.Tensor) -> torch.Tensor:
    """(B, length): which positions are not among each clip's first counts (B,)."""
    return torch.arange(length, device=counts.device) >= counts[:, None]
