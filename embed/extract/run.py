"""An extraction run: find pending clips → plan → decode ahead → forward pass → pool → write shards.

Whatever ends a run, finished clips stay in the store, and the next run computes the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.console import progress, say, stage
from layerprobe.cache.common.disk import require_space
from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.common.interrupts import GracefulStop
from layerprobe.cache.common.text import format_bytes, format_count, format_duration
from layerprobe.cache.identity.extraction import Extraction, estimate_bytes
from layerprobe.cache.store import costs
from layerprobe.cache.store import failures as failure_list
from layerprobe.cache.store.failures import FailureId
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.location.folders import shared
from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.audio.scratch import scratch_space
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.batching import batch_budget, padding_share, plan_batches
from layerprobe.embed.extract.collect import Collector
from layerprobe.embed.extract.parallel import ParallelForward, Replicas
from layerprobe.embed.extract.pending import PendingClips, find_pending
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import Backbone, plan_model
from layerprobe.embed.models.device import DeviceMeter, release_free_memory

RELEASE_SECONDS = 5.0  # between two times that free memory is returned to the system


@dataclass(frozen=True, kw_only=True)
class ExtractionProgress:
    """Progress of a run: clips and seconds of sound, of those to compute; `elapsed` is wall time."""

    done: int
    failed: int
    total: int
    seconds: float
    total_seconds: float
    elapsed: float


@dataclass(frozen=True, kw_only=True)
class ExtractionSummary:
    """What a run computed: `seconds` of sound in `elapsed` seconds of wall time.

    clips: in the table, or channels of them. copies: clips with the content of another clip. failures:
    FailureId → reason. padding: share of padding among the computed samples. recomputed: windows of clips
    whose states overflowed in half precision and were computed again in fp32. stopped: by a signal; the same
    call resumes.
    """

    store: Path
    fingerprint: str
    clips: int
    embedded: int
    cached: int
    copies: int
    failures: Mapping[FailureId, str]
    seconds: float
    elapsed: float
    padding: float
    recomputed: int
    stopped: bool


Report = Callable[[ExtractionProgress], None]
Select = Callable[[Sequence[Clip], Backbone], Sequence[Clip]]


def embed(
    clips: Sequence[Clip], config: EmbedConfig, *, select: Select | None = None, report: Report | None = None
) -> ExtractionSummary:
    """Compute and store the states of every clip that the store does not hold yet.

    select: embed the clips that it chooses, a part of the table; other processes may embed the others at the
    same time, into the same store. report: called after every batch. Ctrl-C and SIGTERM end the run after the
    current batch.

    Raises InputError before anything is computed if the settings cannot be met or the disk is too small for
    the states, and NothingEmbeddedError after the run if no clip at all could be embedded; with
    `on_error="stop"`, the ClipError of the first clip that fails.
    """
    began = time.perf_counter()
    plan = plan_model(config)
    meter = DeviceMeter(plan.device, began=began)
    # Only a model that could be loaded has a store. It is loaded again if there is anything to compute.
    store = FeatureStore.find(config.cache, plan.extraction)
    backbone = plan.load() if store is None or select is not None else None
    store = store or FeatureStore.create(config.cache, plan.extraction)
    with shared(store.shards), scratch_space(config.scratch, store.folder) as scratch:
        clips = channel_clips(clips, channels=config.channels, track=config.track)
        if select is not None and backbone is not None:
            clips = select(clips, backbone)
        pending = find_pending(clips, store, config)
        if len(pending.keys):
            size = estimate_bytes(plan.extraction, clips=len(pending.keys), seconds=pending.seconds)
            require_space(store.folder, store.shards.disk_bytes(size))
            summary = compute_pending(
                pending, backbone or plan.load(), plan.extraction, store, config, report=report
            )
        else:
            summary = _nothing_to_compute(pending, store)
        if summary.embedded:
            cost = costs.ExtractionCost(clips=summary.embedded, seconds=summary.seconds, cost=meter.read())
            costs.append(store.folder, cost)
    if scratch.full:
        files = format_count(scratch.full, "file")
        say(
            f"note: the scratch space of {format_bytes(config.scratch)} was too small for the samples of "
            f"{files}, whose segments were each decoded from the file's start; give more with --scratch"
        )
    return summary


def _nothing_to_compute(pending: PendingClips, store: FeatureStore) -> ExtractionSummary:
    """The summary of a run without a clip to compute, whose store may be read-only; raises as `embed`."""
    failure_list.update(store.folder, failed=pending.failures, succeeded=pending.cached_clips)
    summary = ExtractionSummary(
        store=store.folder,
        fingerprint=store.extraction.fingerprint(),
        clips=pending.table_size,
        embedded=0,
        cached=pending.cached,
        copies=pending.copy_count,
        failures={identity: failure.reason for identity, failure in pending.failures.items()},
        seconds=0.0,
        elapsed=0.0,
        padding=0.0,
        recomputed=0,
        stopped=False,
    )
    require_success(summary)
    return summary


def embed_with_progress(clips: Sequence[Clip], config: EmbedConfig) -> ExtractionSummary:
    """`embed` with a progress line on stderr."""
    with show_progress(config.model) as report:
        return embed(clips, config, report=report)


@contextmanager
def show_progress(model: str) -> Iterator[Report]:
    """A progress line on stderr, and the function that updates it."""
    with progress(f"embed {model}") as line:

        def report(now: ExtractionProgress) -> None:
            share = now.seconds / now.total_seconds if now.total_seconds else 1.0
            speed = f"{now.done / now.elapsed:.1f} clips/s, {now.seconds / now.elapsed:.1f} x real time"
            left = format_duration(now.elapsed * (1 - share) / share) if share else "?"
            failed = f", {now.failed} failed" if now.failed else ""
            line.update(share, f"{now.done}/{now.total} clips{failed}, {speed}, {left} left")

        yield report


@stage("compute and store the states")
def compute_pending(
    pending: PendingClips,
    backbone: Backbone,
    extraction: Extraction,
    store: FeatureStore,
    config: EmbedConfig,
    *,
    report: Report | None = None,
) -> ExtractionSummary:
    """Compute the pending clips and write them to the store; raises as `embed`."""
    started = released = time.perf_counter()
    on_cpu = backbone.device.type == "cpu"
    budget = batch_budget(config, backbone.device)
    batches = plan_batches(
        pending.audio.samples, window=config.window, budget=budget, processed=backbone.processed
    )
    decoded = Prefetcher(batches, pending, normalise=backbone.normalise, device=backbone.device)
    forward = ParallelForward(Replicas(backbone), extraction, budget=budget, batches=len(batches))
    failures = dict(pending.failures)
    failed_copies = 0  # of clips that fail during the run
    with GracefulStop() as stop, store.writer() as writer:
        collector = Collector(writer, extraction, pending)

        def fail(index: int, error: ClipError) -> None:
            nonlocal failed_copies
            failures.update(pending.failed(index, error))
            failed_copies += len(pending.with_copies(index)) - 1
            if config.on_error == "stop":
                raise error

        def progress_now() -> ExtractionProgress:
            return ExtractionProgress(
                done=len(collector.done),
                failed=len(failures),
                total=len(pending.clips) + len(pending.failures) + failed_copies,
                seconds=collector.seconds,
                total_seconds=pending.seconds,
                elapsed=time.perf_counter() - started,
            )

        try:
            for result in forward.results(decoded):
                with writer.in_one_shard():
                    for index, error in collector.collect(result):
                        fail(index, error)
                if report:
                    report(progress_now())
                if on_cpu and time.perf_counter() - released > RELEASE_SECONDS:
                    release_free_memory()
                    released = time.perf_counter()
                if stop.requested:
                    break
        finally:
            succeeded = [clip for index in collector.done for clip in pending.with_copies(index)]
            failure_list.update(store.folder, failed=failures, succeeded=[*pending.cached_clips, *succeeded])
    summary = ExtractionSummary(
        store=store.folder,
        fingerprint=extraction.fingerprint(),
        clips=pending.table_size,
        embedded=len(collector.done),
        cached=pending.cached,
        copies=pending.copy_count - failed_copies,
        failures={identity: failure.reason for identity, failure in failures.items()},
        seconds=collector.seconds,
        elapsed=time.perf_counter() - started,
        padding=padding_share(batches),
        recomputed=forward.recomputed,
        stopped=stop.requested,
    )
    if not summary.stopped:
        require_success(summary)
    return summary


class NothingEmbeddedError(InputError):
    """Every clip of a run failed; `summary` is that of the run."""

    def __init__(self, summary: ExtractionSummary) -> None:
        self.summary = summary
        (path, _, _), reason = next(iter(summary.failures.items()))
        super().__init__(
            f"none of {len(summary.failures)} clips could be embedded; the first: {reason}",
            where=path,
            do=f"all are listed in {summary.store / 'failures.csv'}",
        )


def require_success(summary: ExtractionSummary) -> None:
    """Raise NothingEmbeddedError if there are failures and nothing else."""
    if summary.failures and not summary.embedded and not summary.cached:
        raise NothingEmbeddedError(summary)
