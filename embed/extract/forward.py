"""Decoded batches → states on the host: the forward pass, pooling on the device, copies, out-of-memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.config import RATE
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.pooling import merging_stats, pool
from layerprobe.embed.extract.prefetch import Batch
from layerprobe.embed.models.backbones import Backbone


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What one batch gave. `frames` counts each window's frames; `failed` are clips that gave nothing.

    pooled: per layer (B, S, D) float32, statistics in the order of `Forward.stats`; or, where every frame is
    kept, kept: per layer (B, F, D) float32. Read them after `wait`.
    """

    windows: list[Window]
    frames: list[int]
    failed: dict[int, ClipError]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    event: torch.cuda.Event | None = None

    def wait(self) -> dict[str, np.ndarray]:
        """The arrays, once their copies from the device have arrived."""
        if self.event is not None:
            self.event.synchronize()
        return {layer: tensor.numpy() for layer, tensor in self.tensors.items()}


class Forward:
    """Runs batches through a backbone, halving its budget (padded samples) where the device is too small."""

    def __init__(self, backbone: Backbone, extraction: Extraction, *, budget: int) -> None:
        self._backbone, self._budget = backbone, budget
        self._keep_frames = extraction.stats == (FRAME,)
        self.stats = merging_stats(extraction.stats)

    def results(self, batches: Iterable[Batch]) -> Iterator[BatchResult]:
        """What each batch gives, in order; the device works on one while its forerunner is collected."""
        before: BatchResult | None = None
        for batch in batches:
            for given in self._fit(batch):
                if before is not None:
                    yield before
                before = given
        if before is not None:
            yield before

    def _fit(self, batch: Batch) -> Iterator[BatchResult]:
        """The batch in as many parts as memory needs."""
        if not batch.windows:
            yield BatchResult(windows=[], frames=[], failed=batch.failed)
            return
        if batch.samples > self._budget and len(batch.windows) > 1:
            yield from self._split(batch)
            return
        try:
            yield self._launch(batch)
            return
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if self._backbone.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch.windows) == 1:
            window = batch.windows[0]
            too_long = ClipError(
                f"{window.samples / RATE:.0f} s of it do not fit in the memory of the device",
                do=f"lower --window, or let another program free memory on {self._backbone.device}",
            )
            yield BatchResult(windows=[], frames=[], failed={**batch.failed, window.clip: too_long})
            return
        self._budget = batch.samples // 2
        yield from self._split(batch)

    def _split(self, batch: Batch) -> Iterator[BatchResult]:
        if batch.failed:
            yield BatchResult(windows=[], frames=[], failed=batch.failed)
        for half in batch.halves():
            yield from self._fit(half)

    def _launch(self, batch: Batch) -> BatchResult:
        """Start one forward pass and the copies of what it gives."""
        device = self._backbone.device
        tensors: dict[str, torch.Tensor] = {}

        def visit(layer: str, states: torch.Tensor, frames: torch.Tensor) -> None:
            values = states.float() if self._keep_frames else pool(states, frames, self.stats)
            tensors[layer] = _to_host(values)

        waves = batch.waves.to(device, non_blocking=True)
        self._backbone.run(waves, batch.lengths, visit)
        event = None
        if device.type == "cuda":
            event = torch.cuda.Event()
            event.record()
        frames = [self._backbone.frames(n) for n in batch.lengths.tolist()]
        return BatchResult(
            windows=batch.windows, frames=frames, failed=batch.failed, tensors=tensors, event=event
        )


def _to_host(values: torch.Tensor) -> torch.Tensor:
    if values.device.type != "cuda":
        return values.cpu()
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def out_of_memory(error: BaseException) -> bool:
    """Whether a GPU or the machine had no memory left; torch has no error of its own for the latter."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
