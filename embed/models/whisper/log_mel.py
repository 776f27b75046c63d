"""The log-mel spectrum that Whisper receives, as transformers' WhisperFeatureExtractor computes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from layerprobe.embed.config import RATE
from layerprobe.embed.models.device import to_device
from layerprobe.embed.models.fused.lengths import is_beyond
from layerprobe.embed.models.whisper.settings import MEL_HOP, WINDOW

FLOOR = 1e-10  # power
RANGE = 8.0  # decades below a clip's largest value; what is lower is raised to this
_HALF = WINDOW // 2


class LogMel:
    """Log-mel spectrum of a padded batch; each clip has the spectrum that it has alone."""

    def __init__(self, mels: int, *, device: torch.device) -> None:
        from transformers.audio_utils import mel_filter_bank  # slow to import

        bank = mel_filter_bank(
            num_frequency_bins=WINDOW // 2 + 1,
            num_mel_filters=mels,
            min_frequency=0.0,
            max_frequency=RATE / 2,
            sampling_rate=RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self._mel = torch.from_numpy(bank).to(device, torch.float32).T.contiguous()  # (mels, bins)
        self._taper = torch.hann_window(WINDOW, device=device)

    def __call__(
        self, waves: torch.Tensor, lengths: Sequence[int], contexts: Sequence[int]
    ) -> tuple[torch.Tensor, list[int]]:
        """waves (B, T) float32, zero beyond lengths → spectrum (B, mels, M) float32, and the steps of each.

        lengths, contexts: samples of each clip, and of each clip with the silence after it. The spectrum of
        clip i has steps[i] = contexts[i] // 160 columns; it is zero beyond them, as convolutions pad.
        """
        padded = self._pad(waves, lengths, contexts)
        spectrum = torch.stft(padded, WINDOW, MEL_HOP, window=self._taper, center=False, return_complex=True)[
            ..., : max(contexts) // MEL_HOP
        ]
        power = (spectrum.real.square() + spectrum.imag.square()).contiguous()
        log = (self._mel @ power).clamp_min_(FLOOR).log10_()
        steps = [count // MEL_HOP for count in contexts]
        if min(steps) == log.shape[2]:
            return self._scaled(log, log.amax((1, 2), keepdim=True)), steps
        beyond = is_beyond(log.shape[2], to_device(torch.tensor(steps), log.device))[:, None]
        largest = log.masked_fill(beyond, -torch.inf).amax((1, 2), keepdim=True)
        return self._scaled(log, largest).masked_fill_(beyond, 0.0), steps

    @staticmethod
    def _scaled(log: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
        return torch.maximum(log, largest - RANGE).add_(4.0).div_(4.0)

    @staticmethod
    def _pad(waves: torch.Tensor, lengths: Sequence[int], contexts: Sequence[int]) -> torch.Tensor:
        """Clips with their silence, and half a window reflected before and after, as torch.stft centres."""
        padded = waves.new_zeros(len(waves), max(contexts) + WINDOW)
        shared = min(waves.shape[1], max(contexts))
        padded[:, _HALF : _HALF + shared] = waves[:, :shared]
        padded[:, :_HALF] = waves[:, 1 : _HALF + 1].flip(1)
        for row, length, context in zip(padded, lengths, contexts, strict=True):
            if context - length < _HALF:  # too little silence: the clip's end is reflected
                end = _HALF + context
                row[end : end + _HALF] = row[end - 1 - _HALF : end - 1].flip(0)
        return padded
