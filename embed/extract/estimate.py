"""`--dry-run`: what a run would compute, write and take, after a short calibration on its own clips."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from layerprobe.cache.identity.extraction import estimate_bytes
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import padded_samples
from layerprobe.embed.extract.forward import Forward
from layerprobe.embed.extract.pending import find_pending
from layerprobe.embed.extract.run import batch_seconds, plan, prefetcher
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import open_backbone


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do.

    clips in the table; cached, missing and failed (as far as headers tell) among them. hours of sound to
    compute. bytes to write. seconds it will take. real_time: seconds of sound computed in a second.
    """

    clips: int
    cached: int
    missing: int
    failed: int
    hours: float
    bytes: int
    seconds: float
    real_time: float


def estimate(clips: Sequence[Clip], config: EmbedConfig) -> Estimate:
    """Time one batch from the middle of the plan, decoding included, and carry it over to the whole.

    Nothing is written but hashes of the files. Raises InputError.
    """
    backbone, extraction = open_backbone(config)
    todo = find_pending(clips, FeatureStore.find(config.cache, extraction), config)
    budget = batch_seconds(config, backbone.device)
    batches = plan(todo, window=config.window, budget=budget)
    seconds = 0.0
    if batches:
        middle = batches[len(batches) // 2]
        forward = Forward(backbone, extraction, budget=int(budget * RATE))
        for _ in range(2):  # the first pass pays for what a device does once
            started = time.perf_counter()
            for given in forward.results(prefetcher([middle], todo, backbone)):
                given.wait()
            took = time.perf_counter() - started
        seconds = took * padded_samples(batches) / padded_samples([middle])
    return Estimate(
        clips=len(clips),
        cached=todo.cached,
        missing=len(todo.keys),
        failed=len(todo.failures),
        hours=todo.seconds / 3600,
        bytes=estimate_bytes(extraction, clips=len(todo.keys), seconds=todo.seconds),
        seconds=seconds,
        real_time=todo.seconds / seconds if seconds else 0.0,
    )
