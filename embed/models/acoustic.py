"""Acoustic features as backbones, baselines that need no weights: `mfcc`, `fbank`, openSMILE's feature sets.

`mfcc` and `fbank`: log mel spectrum or MFCCs (25 ms windows every 10 ms, only windows that lie entirely
within the clip) with first and second differences, like the FBANK and MFCC baselines of SUPERB (Yang et al.,
2021). Each clip is first normalised to mean 0 and variance 1, as for most pretrained models, so recording
level is no feature.

`opensmile:eGeMAPSv02` (Eyben et al. 2016) and `opensmile:ComParE_2016` (Schuller et al. 2016) are functionals
of a clip, computed by the package `opensmile`, whose licence allows research but no commercial product.

`prosody` is what `probe` predicts when it is asked for the sound itself. A frame's fundamental frequency is
the strongest period of its autocorrelation, divided by that of the window (Boersma 1993, "Accurate short-term
analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound"), without his
search for a path through the frames. Whether a frame is voiced is decided later, from periodicity and level
(`classify.controls.probes.acoustics`), so that a frame depends on its own samples only.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torchaudio.functional import compute_deltas, create_dct, melscale_fbanks

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.models.interface import Visit
from layerprobe.embed.models.presets import (
    Acoustic,
    AcousticSettings,
    FunctionalSettings,
    ProsodySettings,
)

FUNCTIONAL_STATS = ("mean",)  # of one vector, the others say nothing or the same
FUNCTIONAL_DTYPE = "float32"  # some functionals exceed the range of float16
BANDS = ((50.0, 1_000.0), (1_000.0, 5_000.0))  # Hz; the alpha ratio of eGeMAPS (Eyben et al. 2016)
FLOOR = 1e-10  # power
OCTAVE_COST = 0.01  # of periodicity for each octave below the highest frequency, as in Praat


class _OneLayer:
    """A backbone of one layer that is computed for each clip alone, on the CPU, in fp32."""

    precision = "fp32"

    def __init__(self, settings: Acoustic) -> None:
        self.layers: tuple[str, ...] = (settings.layer,)
        self.widths: tuple[int, ...] = (settings.width,)
        self.device = torch.device("cpu")

    def processed(self, samples: int) -> int:
        """As `Backbone.processed`: the clip alone."""
        return samples


class _Windows(_OneLayer):
    """A frame for each complete window: none extends beyond the clip's samples."""

    def __init__(self, settings: AcousticSettings | ProsodySettings) -> None:
        super().__init__(settings)
        self.frame_rate = RATE / settings.hop
        self._window, self._hop = settings.window, settings.hop
        self._taper = torch.hann_window(settings.window)

    def frames(self, samples: int) -> int:
        """Frames in a clip of `samples` samples."""
        return max(0, 1 + (samples - self._window) // self._hop)

    def _windows(self, waves: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """waves (B, T), lengths (B,) → windows (B, F, samples), and the number of each clip's own, (B,)."""
        frames = (lengths - self._window).div(self._hop, rounding_mode="floor") + 1
        return waves.unfold(1, self._window, self._hop), frames


def _power(windows: torch.Tensor, fft: int) -> torch.Tensor:
    """(…, samples) → (…, fft // 2 + 1) power spectrum."""
    spectrum = torch.fft.rfft(windows, n=fft)
    return spectrum.real.square() + spectrum.imag.square()


class AcousticBackbone(_Windows):
    """Acoustic features with the interface of a `Backbone`: one layer, named after the settings.

    A batch gives each clip the features it has alone: a clip's last frame is repeated before differences are
    computed.
    """

    normalise = True

    def __init__(self, settings: AcousticSettings) -> None:
        super().__init__(settings)
        self.settings = settings
        # Second differences reach two half-windows further on either side.
        reach = 2 * 2 * (settings.delta // 2) * settings.hop
        self.receptive_field = (settings.window + reach) / RATE
        bins, mels = settings.fft // 2 + 1, settings.mels
        self._mel = melscale_fbanks(bins, settings.low, settings.high, mels, RATE)
        self._dct = create_dct(settings.cepstra or mels, mels, norm="ortho")

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """waves (B, T) float32, lengths (B,) in samples → visit(layer, states (B, F, D), frames (B,))."""
        settings = self.settings
        windows, frames = self._windows(waves, lengths)
        power = _power(windows * self._taper, settings.fft)
        features = (power @ self._mel).clamp_min(settings.floor).log()
        if settings.cepstra:
            features = features @ self._dct
        first = self._differences(features, frames)
        second = self._differences(first, frames)
        visit(settings.name, torch.cat([features, first, second], dim=2), frames)

    def _differences(self, features: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Regression slopes over `delta` frames, (B, F, D) → (B, F, D), last frames repeated."""
        index = torch.arange(features.shape[1]).minimum(frames[:, None] - 1)
        padded = features.gather(1, index[:, :, None].expand_as(features))
        return compute_deltas(padded.transpose(1, 2), win_length=self.settings.delta).transpose(1, 2)


class OpenSmileBackbone(_OneLayer):
    """A feature set of openSMILE with the interface of a `Backbone`: one layer, one frame for a window.

    Each clip is computed alone, on as many threads as torch uses. Raises ModelError where the package
    opensmile is not installed.
    """

    frame_rate = 1.0  # a number is required; a window has one frame, however long it is

    def __init__(self, settings: FunctionalSettings) -> None:
        super().__init__(settings)
        self.settings = settings
        self.normalise = settings.level is not None
        self.receptive_field = settings.shortest / RATE
        self._smile = _open_smile(settings.feature_set)

    def frames(self, samples: int) -> int:
        """1, or 0 for a clip that is too short for openSMILE."""
        return int(samples >= self.settings.shortest)

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """waves (B, T) float32, lengths (B,) in samples → visit(layer, functionals (B, 1, D), ones (B,))."""
        clips = [wave[:length] for wave, length in zip(waves.numpy(), lengths.tolist(), strict=True)]
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            features = np.stack(list(threads.map(self._features, clips)))
        visit(self.settings.layer, torch.from_numpy(features)[:, None], torch.ones_like(lengths))

    def _features(self, wave: np.ndarray) -> np.ndarray:
        """(T,) → (D,) float32. openSMILE reads 16 bits, in which samples beyond 1 would wrap around."""
        level = 1.0 if self.settings.level is None else self.settings.level
        features = self._smile(np.clip(wave * np.float32(level), -1, 1 - 2**-15), RATE)
        return np.asarray(features, np.float32).reshape(-1)


class ProsodyBackbone(_Windows):
    """Prosody with the interface of a `Backbone`: one layer of four columns.

    Fundamental frequency in Hz (of every frame, voiced or not), periodicity from 0 to 1, level in dB below
    full scale, and alpha ratio in dB: the level of 1 to 5 kHz minus that of 50 Hz to 1 kHz.
    """

    normalise = False  # the level is one of the columns

    def __init__(self, settings: ProsodySettings) -> None:
        super().__init__(settings)
        self.receptive_field = settings.window / RATE
        self._fft = 1 << (2 * settings.window - 1).bit_length()
        taper = torch.fft.irfft(_power(self._taper, self._fft), n=self._fft)
        self._of_taper = taper / taper[0]
        frequencies = torch.fft.rfftfreq(self._fft, 1 / RATE)
        self._bands = [(frequencies >= low) & (frequencies < high) for low, high in BANDS]
        self._lags = torch.arange(int(RATE / settings.high), int(RATE / settings.low) + 1)

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """waves (B, T) float32, lengths (B,) in samples → visit(layer, states (B, F, 4), frames (B,))."""
        windows, frames = self._windows(waves, lengths)
        level = 10 * windows.square().mean(2).clamp_min(FLOOR).log10()
        power = _power((windows - windows.mean(2, keepdim=True)) * self._taper, self._fft)
        low, high = (power[..., band].sum(2).clamp_min(FLOOR).log10() for band in self._bands)
        frequency, periodicity = self._period(torch.fft.irfft(power, n=self._fft))
        states = torch.stack([frequency, periodicity, level, 10 * (high - low)], dim=2)
        visit(self.layers[0], states, frames)

    def _period(self, correlation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, F, lags) autocorrelation → frequency in Hz and periodicity, (B, F) each."""
        lags = self._lags
        around = torch.arange(int(lags[0]) - 1, int(lags[-1]) + 2)
        energy = correlation[..., :1]
        r = correlation[..., around] / energy.clamp_min(FLOOR) / self._of_taper[around]
        left, middle, right = r[..., :-2], r[..., 1:-1], r[..., 2:]
        # The vertex of the parabola through three points: a peak between two lags is higher than either.
        bend = (left - 2 * middle + right).clamp_max(-FLOOR)
        shift = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        height = middle - 0.25 * (left - right) * shift
        cost = OCTAVE_COST * torch.log2(lags / lags[0])
        peak = (middle >= left) & (middle >= right)
        best = (height - cost).masked_fill(~peak, -torch.inf).argmax(2, keepdim=True)
        height, shift = (part.gather(2, best)[..., 0] for part in (height, shift))
        silent = energy[..., 0] <= FLOOR
        periodicity = height.clamp(0, 1).masked_fill(silent, 0.0)
        return RATE / (lags[best[..., 0]] + shift), periodicity


def _open_smile(feature_set: str) -> Any:
    try:
        import opensmile
    except ImportError as error:
        what = f"opensmile:{feature_set} requires openSMILE, whose licence allows research but no product"
        raise ModelError(what, do="run: pip install 'layerprobe[opensmile]'") from error
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set], feature_level=opensmile.FeatureLevel.Functionals
    )


def open_acoustic(
    settings: Acoustic, config: EmbedConfig
) -> tuple[AcousticBackbone | OpenSmileBackbone | ProsodyBackbone, tuple[str, ...], str]:
    """The backbone, and the statistics and the type that are stored.

    Raises InputError for statistics or frames of a feature set, which has neither.
    """
    if isinstance(settings, AcousticSettings):
        return AcousticBackbone(settings), config.stats, config.dtype
    if isinstance(settings, ProsodySettings):
        return ProsodyBackbone(settings), config.stats, config.dtype
    what = f"{config.model} is one vector for each clip"
    if config.frames:
        raise InputError(f"{what}: there are no frames to store", do="omit --frames")
    if config.stats not in (EmbedConfig.stats, FUNCTIONAL_STATS):
        raise InputError(f"{what}: it has no statistics over frames", do="omit --stats")
    return OpenSmileBackbone(settings), FUNCTIONAL_STATS, FUNCTIONAL_DTYPE
