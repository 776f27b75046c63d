"""All frames of one layer: read once, scaled by training statistics, returned in padded batches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import Scaling
from layerprobe.classify.features.scaling import varies

MEAN = "mean"
AT_ONCE = 256  # clips whose frames are in memory while their means are computed
MEANS_BUDGET = 1 << 28  # bytes


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames of one layer of N clips, concatenated.

    states: (sum of counts, D), in the store's dtype. begins, counts: (N,) each clip's first frame and number
    of frames. sums, squares: (N, D) float64 sums over each clip's frames, and of their squares.
    """

    states: np.ndarray
    begins: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @property
    def width(self) -> int:
        return int(self.states.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes in memory; a memory-mapped file does not count."""
        mapped = isinstance(self.states, np.memmap)
        return self.sums.nbytes + self.squares.nbytes + (0 if mapped else self.states.nbytes)

    def of(self, clip: int) -> np.ndarray:
        """(F, D): the frames of one clip."""
        return self.states[self.begins[clip] : self.begins[clip] + self.counts[clip]]


def read_frames(store: FeatureStore, name: str, keys: Sequence[str], *, budget: int) -> Frames:
    """Read one layer, above `budget` bytes into a memory-mapped temporary file."""
    counts = store.frame_counts(keys)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    shape, dtype = (int(counts.sum()), store.extraction.width(name)), np.dtype(store.extraction.dtype)
    if shape[0] * shape[1] * dtype.itemsize <= budget:
        states = np.empty(shape, dtype)
    else:
        with tempfile.TemporaryFile() as file:  # the map keeps it open
            states = np.memmap(file, dtype, "w+", shape=shape)
    store.frames_into(name, keys, states, begins)
    return _with_sums(states, begins, counts)


def join_frames(clips: Sequence[np.ndarray]) -> Frames:
    """The frames (F, D) of each of N clips, N ≥ 1, as `read_frames` reads them from a store."""
    counts = np.array([len(one) for one in clips], np.int64)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return _with_sums(np.concatenate(clips), begins, counts)


def _with_sums(states: np.ndarray, begins: np.ndarray, counts: np.ndarray) -> Frames:
    sums, squares = np.empty((2, len(counts), states.shape[1]))
    for clip, (begin, count) in enumerate(zip(begins, counts, strict=True)):
        exact = states[begin : begin + count].astype(np.float64)
        sums[clip], squares[clip] = exact.sum(0), np.square(exact).sum(0)
    return Frames(states=states, begins=begins, counts=counts, sums=sums, squares=squares)


def mean_states(store: FeatureStore, name: str, keys: Sequence[str]) -> np.ndarray:
    """(N, D) float32: the mean over each clip's frames, read AT_ONCE clips at a time."""
    out = np.empty((len(keys), store.extraction.width(name)), np.float32)
    for begin in range(0, len(keys), AT_ONCE):
        batch = slice(begin, begin + AT_ONCE)
        frames = read_frames(store, name, keys[batch], budget=MEANS_BUDGET)
        out[batch] = frames.sums / frames.counts[:, None]
    return out


def clip_states(store: FeatureStore, name: str, keys: Sequence[str], *, stats: Sequence[str]) -> np.ndarray:
    """(N, S*D) float32: the statistics of each clip, or its mean where every frame is stored."""
    if store.extraction.stats == (FRAME,):
        return mean_states(store, name, keys)
    return store.layer(name, keys, stats=stats)


def main_statistic(store: FeatureStore) -> str:
    """The mean over frames, or the first statistic where the mean is not stored."""
    return MEAN if {MEAN, FRAME} & set(store.extraction.stats) else store.extraction.stats[0]


@dataclass(frozen=True, kw_only=True)
class ScaledFrames:
    """Frames of N clips as a head receives them: (frame - mean) · factor, of the clip's group.

    mean, factor: (G, D) float32, a row for each group. group: (N,). unit: each frame is then scaled to length
    sqrt(D).
    """

    frames: Frames
    mean: np.ndarray
    factor: np.ndarray
    group: np.ndarray
    unit: bool

    @classmethod
    def fit(
        cls, frames: Frames, *, train: np.ndarray, scaling: Scaling, speakers: np.ndarray | None
    ) -> ScaledFrames:
        """Scaled by statistics of the training clips, except for `speaker`.

        scaling: `none` centres each column; `standard` also scales it to unit variance over the training
        frames; `l2` then scales each frame to length sqrt(D); `speaker` standardises over all frames of each
        speaker. Raises InputError for `speaker` without speakers.
        """
        groups, group = [train], np.zeros(len(frames.counts), np.intp)
        if scaling == "speaker":
            if speakers is None:
                raise InputError(
                    "the table names no speakers to scale by", do="leave 'speaker' out of --scalings"
                )
            group = np.unique(speakers, return_inverse=True)[1]
            groups = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
        moments = [_moments(frames, rows) for rows in groups]
        return cls(
            frames=frames,
            mean=np.stack([mean for mean, _ in moments]),
            factor=np.stack([np.ones_like(sd) if scaling == "none" else 1 / sd for _, sd in moments]),
            group=group,
            unit=scaling == "l2",
        )

    def __len__(self) -> int:
        return len(self.frames.counts)

    @property
    def width(self) -> int:
        return self.frames.width

    @property
    def lengths(self) -> np.ndarray:
        """(N,) number of frames of each clip."""
        return self.frames.counts

    def batch(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, T, D) float32, zero-padded, and (B,) the number of frames of each clip."""
        lengths = self.frames.counts[clips]
        out = np.zeros((len(clips), int(lengths.max()), self.frames.width), np.float32)
        for row, clip in enumerate(clips):
            group, filled = self.group[clip], out[row, : lengths[row]]
            filled[...] = self.frames.of(clip)
            filled -= self.mean[group]
            filled *= self.factor[group]
            if self.unit:
                length = np.sqrt(np.square(filled).mean(1, keepdims=True))
                filled /= np.maximum(length, np.finfo(np.float32).tiny)
        return out, lengths


def _moments(frames: Frames, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D,) float32 mean and deviation over the clips' frames; 1 as the deviation of a constant column."""
    total = frames.counts[clips].sum()
    mean = frames.sums[clips].sum(0) / total
    sd = np.sqrt(np.maximum(frames.squares[clips].sum(0) / total - mean**2, 0))
    sd[~varies(sd, mean)] = 1
    return mean.astype(np.float32), sd.astype(np.float32)
