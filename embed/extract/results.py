"""States of a batch on their way from the device to the host: cast and checked there, copied at once.

A clip is refused if a state is not finite or too large for the storage type. To know it, the host needs one
number a clip and layer, the largest absolute value: the states themselves are never looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.pooling import Pooling, pool
from layerprobe.embed.extract.prefetch import Batch
from layerprobe.embed.models.device import to_device, to_host

_NOTHING = torch.empty(0, 0)


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """The states of one batch. frames: each window's frame count. failed: clips without states, by index.

    batch: what the states were computed from. tensors, peaks: as `States.to_host`.
    """

    windows: list[Window]
    frames: list[int]
    failed: dict[int, ClipError]
    batch: Batch | None = None
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    peaks: torch.Tensor = _NOTHING
    event: torch.cuda.Event | None = None

    def wait(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Each layer's array and the peaks, once they have been copied from the device."""
        if self.event is not None:
            self.event.synchronize()
        return {layer: tensor.numpy() for layer, tensor in self.tensors.items()}, self.peaks.numpy()


class States(Protocol):
    """States of the layers of one batch, received in their order."""

    def visit(self, layer: str, states: torch.Tensor, frames: torch.Tensor) -> None:
        """As `models.interface.Visit`."""
        ...

    def to_host(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Start the copies: each layer in the type it is wanted in, and peaks (L, B) float32.

        Peaks are the largest absolute values before the cast, of each clip's own frames in each layer; NaN if
        one is.
        """
        ...


class PooledStates:
    """Statistics over frames, (B, S, D) for each layer, copied from a device in one piece."""

    def __init__(self, stats: Sequence[str], widths: Sequence[int], *, dtype: torch.dtype) -> None:
        """dtype: of the statistics."""
        # Layers of one width that follow each other share a tensor; only `cnn` may have another.
        self._runs = [len(list(run)) for _, run in groupby(widths)]
        self._poolings = [Pooling(stats) for _ in self._runs]
        self._of_layer = [run for run, count in enumerate(self._runs) for _ in range(count)]
        self._stats, self._dtype = tuple(stats), dtype
        self._layers: list[str] = []
        self._on_cpu: list[tuple[torch.Tensor, torch.Tensor]] = []  # each layer's statistics and peaks

    def visit(self, layer: str, states: torch.Tensor, frames: torch.Tensor) -> None:
        """As `States.visit`."""
        if states.device.type == "cpu":  # at once, while the statistics are in the processor's cache
            pooled = pool(states, frames, self._stats)
            self._on_cpu.append((pooled.to(self._dtype), pooled.abs().amax((1, 2))))
        else:
            self._poolings[self._of_layer[len(self._layers)]].add(states, frames)
        self._layers.append(layer)

    def to_host(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """As `States.to_host`."""
        if self._on_cpu:
            tensors = [pooled for pooled, _ in self._on_cpu]
            return dict(zip(self._layers, tensors, strict=True)), torch.stack([p for _, p in self._on_cpu])
        pooled = [pooling.result() for pooling in self._poolings]  # each (L, B, S, D)
        peaks = torch.cat([run.abs().amax((2, 3)) for run in pooled])
        on_host = _copy_together([peaks, *(run.to(self._dtype) for run in pooled)])
        layers = [layer for run in on_host[1:] for layer in run]
        return dict(zip(self._layers, layers, strict=True)), on_host[0]


class FrameStates:
    """Every frame, (B, F, D) for each layer; what is beyond a clip's own frames has no meaning."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._tensors: dict[str, torch.Tensor] = {}
        self._peaks: list[torch.Tensor] = []
        self._beyond: torch.Tensor | None = None  # (B, F, 1): what is not a clip's own

    def visit(self, layer: str, states: torch.Tensor, frames: torch.Tensor) -> None:
        """As `States.visit`. A layer is copied at once: all of them would fill the device's memory."""
        if self._beyond is None:
            positions = torch.arange(states.shape[1], device=states.device)
            self._beyond = (positions >= to_device(frames, states.device)[:, None])[:, :, None]
        self._peaks.append(states.masked_fill(self._beyond, 0.0).abs().amax((1, 2)))
        self._tensors[layer] = to_host(states.to(self._dtype))

    def to_host(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """As `States.to_host`."""
        return self._tensors, to_host(torch.stack(self._peaks).float())


def _copy_together(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors on the host; from a GPU by one copy, of their bytes."""
    if tensors[0].device.type != "cuda":
        return [to_host(tensor) for tensor in tensors]
    data = to_host(torch.cat([tensor.reshape(-1).view(torch.uint8) for tensor in tensors]))
    parts = data.split([tensor.nbytes for tensor in tensors])
    return [part.view(of.dtype).view(of.shape) for part, of in zip(parts, tensors, strict=True)]
