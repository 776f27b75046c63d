"""The shares of the processes of a group in each batch, and what they must agree on for equal results."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from layerprobe.classify.finetune.data import LabelledWindow, LengthGroupedSampler, WindowDataset

IGNORED = -100  # the label of a filler: it has no loss and is not counted


class FilledWindows(TorchDataset[LabelledWindow]):
    """Windows, and at index N a filler, which has no effect on the loss."""

    def __init__(self, windows: WindowDataset) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> LabelledWindow:
        if index < len(self._windows):
            return self._windows[index]
        shortest = self._windows[len(self._windows) - 1]
        return LabelledWindow(wave=shortest.wave, label=IGNORED, weight=0.0, clip=shortest.clip)


class FilledSampler(Sampler[int]):
    """The order of a single process with batches of `multiple` windows; its last batch is filled up.

    accelerate gives each process every K-th batch: together they are the batches of the single process.
    """

    def __init__(self, order: LengthGroupedSampler, *, multiple: int) -> None:
        self._order, self._fillers = order, -len(order) % multiple

    def set_epoch(self, epoch: int) -> None:
        self._order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._order) + self._fillers

    def __iter__(self) -> Iterator[int]:
        yield from self._order
        yield from [len(self._order)] * self._fillers


def validation_loss(logits: np.ndarray, windows: WindowDataset) -> float:
    """The loss of a single process: the mean over all windows, each weighted by its share of its clip."""
    labels = torch.tensor([int(windows.y[window.clip]) for window in windows.windows])
    weights = torch.tensor([1.0 / window.count for window in windows.windows])
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(logits).float(), labels, reduction="none")
    return float((losses * weights).mean())
