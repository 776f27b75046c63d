"""`--dry-run`: what a run would compute and write and how long it would take, timed on one of its batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from layerprobe.cache.identity.extraction import estimate_bytes
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.audio.decoding import FAR, open_decoder
from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.batching import batch_budget, padded_samples, plan_batches
from layerprobe.embed.extract.parallel import ParallelForward, Replicas, worker_count
from layerprobe.embed.extract.pending import PendingClips, find_pending
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.extract.run import Select
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import open_backbone


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do.

    clips: in the table; cached, missing and failed (as far as headers show): among them. hours: of sound to
    compute. bytes: to write. seconds: duration of the run. real_time: seconds of sound computed per second.
    scratch: bytes that decoded samples of compressed files with segments take on disk while the run lasts.
    """

    clips: int
    cached: int
    missing: int
    failed: int
    hours: float
    bytes: int
    seconds: float
    real_time: float
    scratch: int


def estimate(clips: Sequence[Clip], config: EmbedConfig, *, select: Select | None = None) -> Estimate:
    """Time batches from the middle of the plan, decoding included, and extrapolate to all batches.

    There are as many as are computed at a time.

    Writes nothing except file hashes. Raises InputError as `embed.extract.run.embed` does.
    """
    backbone, extraction = open_backbone(config)
    budget, processed = batch_budget(config, backbone.device), backbone.processed
    clips = channel_clips(clips, channels=config.channels, track=config.track)
    if select is not None:
        clips = select(clips, backbone)
    pending = find_pending(clips, FeatureStore.find(config.cache, extraction), config)
    batches = plan_batches(pending.audio.samples, window=config.window, budget=budget, processed=processed)
    seconds = 0.0
    if batches:
        count = worker_count(backbone.device, batches=len(batches))
        first = (len(batches) - count) // 2
        middle = batches[first : first + count]
        forward = ParallelForward(Replicas(backbone), extraction, budget=budget, batches=count)
        for _ in range(2):  # the first pass includes one-time costs of the device
            started = time.perf_counter()
            decoded = Prefetcher(middle, pending, normalise=backbone.normalise, device=backbone.device)
            for result in forward.results(decoded):
                result.wait()
            elapsed = time.perf_counter() - started
        share = padded_samples(middle, processed=processed) / padded_samples(batches, processed=processed)
        seconds = elapsed / share
    return Estimate(
        clips=len(clips),
        cached=pending.cached,
        missing=len(pending.keys),
        failed=len(pending.failures),
        hours=pending.seconds / 3600,
        bytes=estimate_bytes(extraction, clips=len(pending.keys), seconds=pending.seconds),
        seconds=seconds,
        real_time=pending.seconds / seconds if seconds else 0.0,
        scratch=_scratch(pending),
    )


def _scratch(pending: PendingClips) -> int:
    """Bytes of scratch space, each file once."""
    files: dict[str, int] = {}
    for clip, info in zip(pending.clips, pending.audio, strict=True):
        if info.begin > FAR * info.rate and clip.file not in files:
            with open_decoder(clip, info.selection) as decoder:
                files[clip.file] = decoder.space
    return sum(files.values())
