"""`mfcc` and `fbank`: acoustic features as backbones, the baseline that needs no weights.

Log mel spectrum (25 ms windows every 10 ms, only windows that lie wholly within the clip) with first and
second differences, as the FBANK and MFCC baselines of SUPERB (Yang et al., 2021). Each clip's sound is
brought to mean 0 and variance 1 first, as for most pretrained models: how loud it was recorded is no feature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torchaudio.functional import compute_deltas, create_dct, melscale_fbanks

from layerprobe.embed.config import RATE


@dataclass(frozen=True, kw_only=True)
class AcousticSettings:
    """Everything that decides the features; lengths in samples at 16 kHz."""

    name: str
    mels: int
    cepstra: int  # 0: the log mel spectrum itself
    window: int = 400
    hop: int = 160
    fft: int = 512
    low: float = 20.0  # Hz
    high: float = 8_000.0
    floor: float = 1e-6  # mel energies below it count as it
    delta: int = 5  # frames one difference spans

    @property
    def width(self) -> int:
        """Values of one frame: the features, their differences, and the differences of those."""
        return 3 * (self.cepstra or self.mels)

    def architecture(self) -> str:
        """SHA-256 of the settings' canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


ACOUSTIC: dict[str, AcousticSettings] = {
    "mfcc": AcousticSettings(name="mfcc", mels=80, cepstra=40),
    "fbank": AcousticSettings(name="fbank", mels=80, cepstra=0),
}


class AcousticBackbone:
    """Acoustic features behind the same face as a pretrained model: one layer, named by the settings.

    A batch equals each of its clips alone: windows never reach beyond a clip's samples, and at its end the
    last frame is held before differences are taken.
    """

    normalise = True  # as for most pretrained models; and the recording's level is no feature of the speech

    def __init__(self, settings: AcousticSettings, *, device: torch.device | str = "cpu") -> None:
        self.settings = settings
        self.layers: tuple[str, ...] = (settings.name,)
        self.widths: tuple[int, ...] = (settings.width,)
        self.device = torch.device(device)
        self.frame_rate = RATE / settings.hop
        # Differences of differences reach two half-spans further on either side.
        reach = 2 * 2 * (settings.delta // 2) * settings.hop
        self.receptive_field = (settings.window + reach) / RATE
        self._taper = torch.hann_window(settings.window, device=device)
        self._mel = melscale_fbanks(
            settings.fft // 2 + 1,
            settings.low,
            settings.high,
            settings.mels,
            RATE,
            norm=None,
            mel_scale="htk",
        ).to(device)
        self._dct = create_dct(settings.cepstra or settings.mels, settings.mels, norm="ortho").to(device)

    def frames(self, samples: int) -> int:
        """Frames of a clip of so many samples: whole windows only, so none under 400 samples."""
        return max(0, 1 + (samples - self.settings.window) // self.settings.hop)

    def run(
        self,
        waves: torch.Tensor,
        lengths: torch.Tensor,
        visit: Callable[[str, torch.Tensor, torch.Tensor], None],
    ) -> None:
        """waves (B, T) float32, lengths (B,) → visit(layer, states (B, F, D), frames (B,))."""
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
        """Regression slopes over `delta` frames, (B, F, D) → (B, F, D), the last frame held at the end."""
        index = torch.arange(features.shape[1], device=features.device)
        index = index.minimum(frames.to(features.device)[:, None] - 1)
        held = features.gather(1, index[:, :, None].expand_as(features))
        return compute_deltas(held.transpose(1, 2), win_length=self.settings.delta).transpose(1, 2)
