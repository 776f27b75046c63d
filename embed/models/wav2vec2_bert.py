"""wav2vec2-bert (w2v-bert-2.0) as a backbone: its log-mel features in batches, then its Conformer blocks."""

from __future__ import annotations

import torch

from layerprobe.embed.checkpoints.configuration import MEL_BINS, MEL_STACK
from layerprobe.embed.config import RATE
from layerprobe.embed.models.fused.lengths import BatchLengths, is_beyond
from layerprobe.embed.models.layers import MEL_HOP, MEL_WINDOW
from layerprobe.embed.models.wav2vec2 import HookedBackbone

# As transformers' SeamlessM4TFeatureExtractor, which follows Kaldi.
_FFT, _LOW, _FLOOR, _PREEMPHASIS, _FULL_SCALE = 512, 20, 1.192092955078125e-07, 0.97, 2**15


class Wav2Vec2BertBackbone(HookedBackbone):
    """A frozen wav2vec2-bert whose padded batches equal their clips.

    Its convolutions are causal and padding is at the end, so an attention mask is all that a batch needs. A
    last log-mel frame without a partner is dropped, as transformers masks it.
    """

    def _make_exact(self) -> None:
        from transformers.audio_utils import mel_filter_bank, window_function  # slow to import

        # No float64 on Apple's GPUs.
        real = torch.float32 if self.device.type == "mps" else torch.float64
        filters = mel_filter_bank(
            num_frequency_bins=_FFT // 2 + 1,
            num_mel_filters=MEL_BINS,
            min_frequency=_LOW,
            max_frequency=RATE // 2,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self._filters = torch.from_numpy(filters).to(self.device, real)
        taper = window_function(MEL_WINDOW, "povey", periodic=False)
        self._taper = torch.from_numpy(taper).to(self.device, real)

    def _run_model(self, waves: torch.Tensor, lengths: BatchLengths) -> None:
        with torch.autocast(self.device.type, enabled=False):
            features = self.features(waves, lengths.samples_on_device)[:, : lengths.longest]
        mask = ~is_beyond(lengths.longest, lengths.frames_on_device) if lengths.uneven else None
        self._forget_positions()
        self.model(features, attention_mask=mask)

    def features(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Log-mel features of waves (B, T) with lengths (B,) samples: (B, F, 160) float32.

        Each mel bin has mean 0 and variance 1 over the clip's own frames. Frames beyond them are undefined.
        """
        windows = (waves.to(self._taper.dtype) * _FULL_SCALE).unfold(1, MEL_WINDOW, MEL_HOP)
        windows = windows - windows.mean(-1, keepdim=True)
        before = torch.cat([windows[..., :1], windows[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft((windows - _PREEMPHASIS * before) * self._taper, n=_FFT)
        power = spectrum.real.square() + spectrum.imag.square()
        mels = (power @ self._filters).clamp_min(_FLOOR).log()
        count = ((lengths - MEL_WINDOW).div(MEL_HOP, rounding_mode="floor") + 1).clamp_min(1)
        inside = torch.arange(mels.shape[1], device=self.device) < count[:, None]
        own, count = inside[:, :, None], count[:, None, None]
        mean = torch.where(own, mels, 0.0).sum(1, keepdim=True) / count
        variance = torch.where(own, mels - mean, 0.0).square().sum(1, keepdim=True) / (count - 1).clamp_min(1)
        mels = (mels - mean) / (variance + 1e-7).sqrt()
        pairs = mels.shape[1] // MEL_STACK
        stacked = mels[:, : pairs * MEL_STACK].reshape(len(mels), pairs, MEL_STACK * MEL_BINS)
        return stacked.float()
