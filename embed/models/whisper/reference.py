"""transformers' own forward pass of a Whisper encoder, one clip at a time: what `doctor` compares with."""

from __future__ import annotations

import torch
from torch import nn

from layerprobe.embed.checkpoints.source import ModelSource
from layerprobe.embed.config import RATE
from layerprobe.embed.models.layers import FINAL
from layerprobe.embed.models.whisper.context import Context
from layerprobe.embed.models.whisper.settings import frame_count
from layerprobe.embed.models.whisper.weights import load_encoder


class WhisperReference:
    """transformers' feature extractor and encoder, on clips of any length."""

    def __init__(self, source: ModelSource, *, context: Context, device: torch.device, seed: int) -> None:
        from transformers import WhisperFeatureExtractor

        self._extractor = WhisperFeatureExtractor(feature_size=source.config["num_mel_bins"])
        self._encoder = load_encoder(source, seed=seed).to(device)
        self._positions = self._encoder.embed_positions.weight
        self._context = context

    def states(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        """wave (1, T) → states (1, F, D) of the clip's own frames, in the layers that transformers returns.

        These are the ones before the last block, and the final one.
        """
        samples = wave.shape[1]
        padded = nn.functional.pad(wave[0], (0, self._context.samples(samples) - samples))
        extracted = self._extractor(
            padded.cpu().numpy(), sampling_rate=RATE, padding="do_not_pad", return_tensors="pt"
        )
        spectrum = extracted.input_features.to(wave.device)
        encoder, steps = self._encoder, spectrum.shape[2]
        # The encoder refuses a spectrum that does not fill its positions: give it just as many as it fills.
        # Half a position for an odd number of steps passes its check, but not that of the configuration.
        object.__setattr__(encoder.config, "max_source_positions", steps / 2)
        encoder.embed_positions = nn.Embedding.from_pretrained(self._positions[: (steps + 1) // 2])
        with torch.inference_mode():
            out = encoder(spectrum, output_hidden_states=True)
        before = {str(k): states for k, states in enumerate(out.hidden_states[:-1])}
        own = frame_count(samples)
        return {layer: s[:, :own] for layer, s in {**before, FINAL: out.last_hidden_state}.items()}
