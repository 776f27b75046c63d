"""Clips as a model in training hears them: checked once, cut into windows, batched by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.identity.keys import clip_keys
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.extract.batching import cut, padded_length
from layerprobe.embed.manifest.clips import Clip

LISTENERS = 4  # threads that decode while a table is looked through


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A clip that can be heard. key: of its samples, as a store knows it."""

    clip: Clip
    key: str
    sound: audio.AudioInfo
    moments: audio.Moments


def load_recordings(clips: Sequence[Clip], cache: Path) -> tuple[dict[str, Recording], dict[str, str]]:
    """Decode every clip once: by id those that can be used, and of the others why not."""
    heard: dict[str, Recording] = {}
    broken: dict[str, str] = {}
    keys = dict(zip((clip.id for clip in clips), clip_keys(clips, cache), strict=True))
    with audio.decoder_pool(LISTENERS) as pool:
        for clip, found in zip(clips, pool.map(_hear, clips), strict=True):
            key = keys[clip.id]
            if isinstance(found, ClipError):
                broken[clip.id] = f"not heard: {found.reason}"
            elif isinstance(key, OSError):
                broken[clip.id] = f"not heard: cannot be read ({(key.strerror or str(key)).lower()})"
            else:
                sound, moments = found
                heard[clip.id] = Recording(clip=clip, key=key, sound=sound, moments=moments)
    return heard, broken


def _hear(clip: Clip) -> tuple[audio.AudioInfo, audio.Moments] | ClipError:
    try:
        sound = audio.probe(clip)
        moments = audio.measure_moments(clip, sound)
        moments.check(clip)
    except ClipError as error:
        return error
    return sound, moments


@dataclass(frozen=True, kw_only=True)
class Item:
    """One window as the model gets it. wave: (T,) float32. weight: of its loss; `clip` as in `Window`."""

    wave: torch.Tensor
    label: int
    weight: float
    clip: int


class Windows(TorchDataset[Item]):
    """The windows of some clips, longest first, each labelled as its clip.

    A clip counts once: the weights of its windows add up to the one of its class.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        y: np.ndarray,
        *,
        window: float,
        normalise: bool,
        class_weights: np.ndarray | None = None,
    ) -> None:
        """y: (N,) class numbers of the N recordings. class_weights: (K,), or None for 1."""
        self.recordings, self.y, self._normalise = recordings, y, normalise
        self._weights = class_weights
        pieces = [
            piece
            for number, recording in enumerate(recordings)
            for piece in cut(number, recording.sound.samples, window=window)
        ]
        self.windows = sorted(pieces, key=lambda piece: (-piece.samples, piece.clip, piece.number))
        self.lengths = [piece.samples for piece in self.windows]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Item:
        piece = self.windows[index]
        recording, label = self.recordings[piece.clip], int(self.y[piece.clip])
        wave = audio.read_clip(recording.clip, recording.sound, begin=piece.begin, stop=piece.stop)
        if self._normalise:
            wave = audio.normalise(wave, recording.moments.mean, recording.moments.variance)
        weight = 1.0 if self._weights is None else float(self._weights[label])
        return Item(wave=torch.from_numpy(wave), label=label, weight=weight / piece.count, clip=piece.clip)

    def names(self, numbers: Sequence[int]) -> list[str]:
        """Ids of clips by their numbers, each once."""
        return [self.recordings[number].clip.id for number in dict.fromkeys(numbers)]

    def merge(self, logits: np.ndarray) -> np.ndarray:
        """Logits (W, K) of all windows → (N, K): the mean over each clip's windows."""
        total = np.zeros((len(self.recordings), logits.shape[1]), np.float64)
        np.add.at(total, [piece.clip for piece in self.windows], logits)
        counts = np.bincount([piece.clip for piece in self.windows], minlength=len(total))
        return total / counts[:, None]


def collate(items: Sequence[Item]) -> dict[str, torch.Tensor]:
    """waves (B, T) padded with zeros, lengths (B,), labels (B,), weights (B,), clips (B,)."""
    lengths = torch.tensor([len(item.wave) for item in items])
    waves = torch.zeros(len(items), padded_length(int(lengths.max())))
    for row, item in zip(waves, items, strict=True):
        row[: len(item.wave)] = item.wave
    return {
        "waves": waves,
        "lengths": lengths,
        "labels": torch.tensor([item.label for item in items]),
        "weights": torch.tensor([item.weight for item in items]),
        "clips": torch.tensor([item.clip for item in items]),
    }


class ByLength(Sampler[int]):
    """Random batches of windows of like length; the order follows from seed and epoch alone."""

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = list(lengths), batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        own = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        yield from get_length_grouped_indices(self._lengths, self._batch_size, generator=own)
