"""Clips as training examples: decoded and checked once, cut into windows, batched by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.data.dataset import Dataset, join_targets
from layerprobe.classify.data.splits import Assignment
from layerprobe.classify.finetune.config import FinetuneConfig
from layerprobe.embed.audio import sound as audio
from layerprobe.embed.extract.batching import cut, padded_length
from layerprobe.embed.manifest.clips import Clip, select_sound

DECODING_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A clip whose audio has been checked. key: its content key, as in a store."""

    clip: Clip
    key: str
    info: audio.AudioInfo
    moments: audio.Moments


def load_recordings(clips: Sequence[Clip], cache: Path) -> tuple[dict[str, Recording], dict[str, str]]:
    """Decode every clip once. Returns the usable ones by clip id, and for the others id → reason.

    cache: folder of the hash cache.
    """
    with audio.DecoderThreads(DECODING_THREADS) as pool:
        results = pool.map(_load, clips, clip_keys(clips, cache))
        loaded = dict(zip((clip.id for clip in clips), results, strict=True))
    recordings = {id: result for id, result in loaded.items() if isinstance(result, Recording)}
    faults = {id: f"not usable: {result}" for id, result in loaded.items() if isinstance(result, str)}
    return recordings, faults


def load_data(
    clips: Sequence[Clip], assignment: Assignment, config: FinetuneConfig, cache: Path
) -> tuple[dict[str, Recording], Dataset]:
    """The usable recordings of the splits by clip id, and their labels."""
    used = {id for fold in assignment for ids in fold for id in ids}
    unused = {clip.id: "in no partition of the splits" for clip in clips if clip.id not in used}
    read = select_sound(
        [clip for clip in clips if clip.id in used], channels=config.channels, track=config.track
    )
    recordings, faults = load_recordings(read, cache)
    if faults and not recordings:
        id, reason = next(iter(faults.items()))
        raise InputError(f"none of {len(faults)} clips can be used; the first: {reason}", where=id)
    data = join_targets(
        clips,
        target=config.target,
        keys=lambda labelled_clips: [recordings[clip.id].key for clip in labelled_clips],
        excluded={**unused, **faults},
    )
    return recordings, data


def _load(clip: Clip, key: str | OSError) -> Recording | str:
    """The recording, or why it cannot be used."""
    try:
        info = audio.probe(clip)
        moments = audio.measure_moments(clip, info)
        moments.check(clip)
    except ClipError as error:
        return error.reason
    if isinstance(key, OSError):
        return f"cannot be read ({(key.strerror or str(key)).lower()})"
    return Recording(clip=clip, key=key, info=info, moments=moments)


@dataclass(frozen=True, kw_only=True)
class LabelledWindow:
    """One model input. wave: (T,) float32. weight: of its loss. clip: index of its recording."""

    wave: torch.Tensor
    label: int
    weight: float
    clip: int


class WindowDataset(TorchDataset[LabelledWindow]):
    """The windows of N recordings, longest first, each with the label of its clip.

    Every clip counts once: the weights of its windows sum to the weight of its class.
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
        """y: (N,) class numbers. window: seconds. class_weights: (K,), or None for equal weights."""
        self.recordings, self.y = recordings, y
        self._normalise, self._class_weights = normalise, class_weights
        windows = [
            piece
            for clip, recording in enumerate(recordings)
            for piece in cut(clip, recording.info.samples, window=window)
        ]
        self.windows = sorted(windows, key=lambda piece: (-piece.samples, piece.clip, piece.number))
        self.lengths = [window.samples for window in self.windows]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> LabelledWindow:
        window = self.windows[index]
        recording, label = self.recordings[window.clip], int(self.y[window.clip])
        wave = audio.read_clip(recording.clip, recording.info, begin=window.begin, stop=window.stop)
        if self._normalise:
            wave = audio.normalise(wave, recording.moments.mean, recording.moments.variance)
        weight = 1.0 if self._class_weights is None else float(self._class_weights[label])
        return LabelledWindow(
            wave=torch.from_numpy(wave), label=label, weight=weight / window.count, clip=window.clip
        )

    def clip_ids(self, clips: Sequence[int]) -> list[str]:
        """The ids of clips given by index, without repeats."""
        return [self.recordings[clip].clip.id for clip in dict.fromkeys(clips)]

    def merge(self, logits: np.ndarray) -> np.ndarray:
        """Logits of all windows (W, K) → (N, K): the mean over each clip's windows."""
        clips = [window.clip for window in self.windows]
        total = np.zeros((len(self.recordings), logits.shape[1]), np.float64)
        np.add.at(total, clips, logits)
        return total / np.bincount(clips, minlength=len(total))[:, None]


def collate(items: Sequence[LabelledWindow]) -> dict[str, torch.Tensor]:
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


class LengthGroupedSampler(Sampler[int]):
    """Random batches of windows of similar length; the order depends on seed and epoch alone."""

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = list(lengths), batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        yield from get_length_grouped_indices(self._lengths, self._batch_size, generator=generator)
