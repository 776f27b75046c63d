"""`mfcc` and `fbank`: acoustic features as a backbone, a baseline that needs no weights.

Log mel spectrum or MFCCs (25 ms windows every 10 ms, only windows that lie entirely within the clip) with
first and second differences, like the FBANK and MFCC baselines of SUPERB (Yang et al., 2021). Each clip is
first normalised to mean 0 and variance 1, as for most pretrained models, so recording level is no feature.
"""

from __future__ import annotations

import torch
from torchaudio.functional import compute_deltas, create_dct, melscale_fbanks

from layerprobe.embed.config import RATE
from layerprobe.embed.models.interface import Visit
from layerprobe.embed.models.presets import AcousticSettings


class AcousticBackbone:
    """Acoustic features with the interface of a `Backbone`: one layer, named after the settings.

    A batch gives each clip the features it has alone: no window extends beyond the clip's samples, and its
    last frame is repeated before differences are computed.
    """

    normalise = True
    precision = "fp32"

    def __init__(self, settings: AcousticSettings, *, device: torch.device | str = "cpu") -> None:
        self.settings = settings
        self.layers: tuple[str, ...] = (settings.name,)
        self.widths: tuple[int, ...] = (settings.width,)
        self.device = torch.device(device)
        self.frame_rate = RATE / settings.hop
        # Second differences reach two half-windows further on either side.
        reach = 2 * 2 * (settings.delta // 2) * settings.hop
        self.receptive_field = (settings.window + reach) / RATE
        self._taper = torch.hann_window(settings.window, device=device)
        bins, mels = settings.fft // 2 + 1, settings.mels
        self._mel = melscale_fbanks(bins, settings.low, settings.high, mels, RATE).to(device)
        self._dct = create_dct(settings.cepstra or mels, mels, norm="ortho").to(device)

    def frames(self, samples: int) -> int:
        """Frames in a clip of `samples` samples: complete windows only, so none below 400 samples."""
        return max(0, 1 + (samples - self.settings.window) // self.settings.hop)

    def processed(self, samples: int) -> int:
        """As `Backbone.processed`: the clip alone."""
        return samples

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """waves (B, T) float32, lengths (B,) in samples → visit(layer, states (B, F, D), frames (B,))."""
        settings = self.settings
        frames = (lengths - settings.window).div(settings.hop, rounding_mode="floor") + 1
        windows = waves.unfold(1, settings.window, settings.hop) * self._taper
        spectrum = torch.fft.rfft(windows, n=settings.fft)
        power = spectrum.real.square() + spectrum.imag.square()
        features = (power @ self._mel).clamp_min(settings.floor).log()
        if settings.cepstra:
            features = features @ self._dct
        first = self._differences(features, frames)
        second = self._differences(first, frames)
        visit(settings.name, torch.cat([features, first, second], dim=2), frames)

    def _differences(self, features: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Regression slopes over `delta` frames, (B, F, D) → (B, F, D), last frames repeated."""
        index = torch.arange(features.shape[1], device=features.device)
        index = index.minimum(frames.to(features.device)[:, None] - 1)
        padded = features.gather(1, index[:, :, None].expand_as(features))
        return compute_deltas(padded.transpose(1, 2), win_length=self.settings.delta).transpose(1, 2)
