"""Decoded batches → states on the host: forward pass, pooling on the device, out-of-memory handling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from layerprobe.cache.common.errors import ClipError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.config import RATE
from layerprobe.embed.extract.pooling import mergeable_stats
from layerprobe.embed.extract.prefetch import Batch
from layerprobe.embed.extract.results import BatchResult, FrameStates, PooledStates, States
from layerprobe.embed.models.device import is_out_of_memory, record_event
from layerprobe.embed.models.interface import Backbone


class ForwardPass:
    """Runs batches through a backbone, halving its budget (padded samples) if memory runs out.

    Windows whose states overflow in half precision are computed again in fp32, so that a clip's states do not
    depend on the batch it is in. recomputed: the number of these windows.
    """

    def __init__(self, backbone: Backbone, extraction: Extraction, *, budget: int) -> None:
        self._backbone, self._budget = backbone, budget
        self._keep_frames = extraction.stats == (FRAME,)
        self._stats, self._widths = mergeable_stats(extraction.stats), extraction.widths
        self._dtype: torch.dtype = getattr(torch, extraction.dtype)
        self.recomputed = 0

    def results(self, batches: Iterable[Batch]) -> Iterator[BatchResult]:
        """The results in order; the device computes one while the caller handles the one before it."""
        previous: BatchResult | None = None
        for batch in batches:
            for result in self._compute(batch):
                if previous is not None:
                    yield self._finite(previous)
                previous = result
        if previous is not None:
            yield self._finite(previous)

    def _finite(self, result: BatchResult) -> BatchResult:
        """The result, with the windows that overflowed in half precision computed again in fp32."""
        backbone, batch = self._backbone, result.batch
        if backbone.precision == "fp32" or batch is None:
            return result
        arrays, peaks = result.wait()
        overflowed = np.flatnonzero(~np.isfinite(peaks).all(0)).tolist()
        if not overflowed:
            return result
        self.recomputed += len(overflowed)
        row_of = {result.windows[row]: row for row in overflowed}
        failed = dict(result.failed)
        precision, backbone.precision = backbone.precision, "fp32"
        try:
            for piece in self._compute(batch.select(overflowed)):
                failed.update(piece.failed)
                again, their_peaks = piece.wait()
                for i, (window, count) in enumerate(zip(piece.windows, piece.frames, strict=True)):
                    rows = slice(count) if self._keep_frames else slice(None)
                    peaks[:, row_of[window]] = their_peaks[:, i]
                    for layer, values in again.items():
                        arrays[layer][row_of[window], rows] = values[i, rows]
        finally:
            backbone.precision = precision
        return replace(result, failed=failed)

    def _compute(self, batch: Batch) -> Iterator[BatchResult]:
        """Compute the batch in as many pieces as memory requires."""
        if not batch.windows:
            yield BatchResult(windows=[], frames=[], failed=batch.failed)
            return
        short = [row for row, window in enumerate(batch.windows) if not self._backbone.frames(window.samples)]
        if short:
            yield self._without_frames(batch, short)
            batch = batch.select([row for row in range(len(batch.windows)) if row not in short])
            if not batch.windows:
                return
        size = len(batch.windows) * self._backbone.processed(batch.waves.shape[1])
        if size > self._budget and len(batch.windows) > 1:
            yield from self._split(batch)
            return
        try:
            yield self._launch(batch)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
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
        self._budget = size // 2
        yield from self._split(batch)

    def _without_frames(self, batch: Batch, rows: Sequence[int]) -> BatchResult:
        """The failures of windows that are too short for the model."""
        failed = dict(batch.failed)
        for window in (batch.windows[row] for row in rows):
            what = f"{window.samples / RATE:.3f} s are too short for this model, which makes no frame of them"
            failed[window.clip] = ClipError(what, do="use another model")
        return BatchResult(windows=[], frames=[], failed=failed)

    def _split(self, batch: Batch) -> Iterator[BatchResult]:
        if batch.failed:
            yield BatchResult(windows=[], frames=[], failed=batch.failed)
        for half in batch.halves():
            yield from self._compute(half)

    def _launch(self, batch: Batch) -> BatchResult:
        """Start a forward pass and the copies of its states to the host."""
        device, states = self._backbone.device, self._states(batch)
        waves = batch.waves.to(device, non_blocking=True)
        self._backbone.run(waves, batch.lengths, states.visit)
        tensors, peaks = states.to_host()
        return BatchResult(
            windows=batch.windows,
            frames=[self._backbone.frames(n) for n in batch.lengths.tolist()],
            failed=batch.failed,
            batch=batch,
            tensors=tensors,
            peaks=peaks,
            event=record_event(device),
        )

    def _states(self, batch: Batch) -> States:
        if self._keep_frames:
            return FrameStates(self._dtype)
        # Windows of one clip are merged on the host, from statistics that are not rounded yet.
        is_merged = any(window.count > 1 for window in batch.windows)
        return PooledStates(self._stats, self._widths, dtype=torch.float32 if is_merged else self._dtype)
