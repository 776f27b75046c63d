"""The run: which clips are missing → plan → decode ahead → forward → pool → shards.

Whatever stops a run, the clips that are done stay done, and the next run takes up the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from layerprobe.cache.common.disk import require_space
from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.identity.extraction import Extraction, estimate_bytes
from layerprobe.cache.store import costs
from layerprobe.cache.store import failures as failure_list
from layerprobe.cache.store.failures import FailureId
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import Batches, Window, padding_share, plan_batches
from layerprobe.embed.extract.collect import Collector
from layerprobe.embed.extract.forward import Forward
from layerprobe.embed.extract.pending import PendingClips, find_pending
from layerprobe.embed.extract.prefetch import Prefetcher
from layerprobe.embed.extract.stopping import Stop
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import Backbone, open_backbone
from layerprobe.embed.models.device import DeviceMeter, release_free_memory

BATCH_SECONDS = {"cpu": 8.0, "cuda": 320.0}  # padded sound in one batch; memory halves it where it must
TIDY_SECONDS = 5.0  # between two times that free memory is given back to the system


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is: clips and seconds of sound, of those that had to be computed; `elapsed` wall time."""

    done: int
    failed: int
    total: int
    seconds: float
    total_seconds: float
    elapsed: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did. `seconds` of sound were computed in `elapsed` seconds of wall time.

    copies: clips whose sound another clip of the table has too. failures: FailureId → reason.
    padding: share of the computed samples that was padding.
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
    stopped: bool


Report = Callable[[Progress], None]


def embed(clips: Sequence[Clip], config: EmbedConfig, *, report: Report | None = None) -> Summary:
    """Fill the store with every clip's states that it does not hold yet.

    Raises InputError before anything is computed where the settings cannot be met or the disk cannot hold the
    states; with `on_error="stop"` the ClipError of the first clip that cannot be used.
    """
    began = time.perf_counter()
    backbone, extraction = open_backbone(config)
    meter = DeviceMeter(backbone.device, began=began)
    store = FeatureStore.create(config.cache, extraction)
    todo = find_pending(clips, store, config)
    require_space(store.folder, estimate_bytes(extraction, clips=len(todo.keys), seconds=todo.seconds))
    summary = run(todo, backbone, extraction, store, config, report=report)
    if summary.embedded:
        spent = costs.ExtractionCost(clips=summary.embedded, seconds=summary.seconds, cost=meter.read())
        costs.append(store.folder, spent)
    return summary


def plan(todo: PendingClips, *, window: float, budget: float) -> Batches:
    """The run's batches; `window` and `budget` in seconds."""
    samples = [sound.samples for sound in todo.sounds]
    return plan_batches(samples, window=window, rate=RATE, budget=int(budget * RATE))


def prefetcher(batches: Sequence[Sequence[Window]], todo: PendingClips, backbone: Backbone) -> Prefetcher:
    """What decodes the run's batches ahead of the model."""
    on_gpu = backbone.device.type == "cuda"
    return Prefetcher(
        batches,
        clips=todo.clips,
        sounds=todo.sounds,
        unchanged=todo.unchanged,
        normalise=backbone.normalise,
        pin=on_gpu,
        workers=8 if on_gpu else 2,
    )


def batch_seconds(config: EmbedConfig, device: torch.device) -> float:
    """The budget of padded seconds: as asked for, else what suits the device."""
    return config.batch_seconds or BATCH_SECONDS.get(device.type, BATCH_SECONDS["cpu"])


def run(
    todo: PendingClips,
    backbone: Backbone,
    extraction: Extraction,
    store: FeatureStore,
    config: EmbedConfig,
    *,
    report: Report | None = None,
) -> Summary:
    """Compute what `todo` lists and write it to the store."""
    started = time.perf_counter()
    budget = batch_seconds(config, backbone.device)
    batches = plan(todo, window=config.window, budget=budget)
    forward = Forward(backbone, extraction, budget=int(budget * RATE))
    failures = dict(todo.failures)
    lost: list[Clip] = []  # copies of clips that fail
    # With nothing to compute nothing is written: the store may lie where this process can only read.
    writing = store.writer() if batches else nullcontext(store.writer())
    with Stop() as stop, writing as writer:
        collector = Collector(writer, extraction, clips=todo.clips, keys=todo.keys, sounds=todo.sounds)

        def tell(errors: Iterable[tuple[int, ClipError]]) -> None:
            for index, error in errors:
                collector.drop(index)
                failures.update(todo.failed(index, error))
                lost.extend(todo.repeats.get(index, ()))
                if config.on_error == "stop":
                    raise error
            if report:
                report(
                    Progress(
                        done=len(collector.done),
                        failed=len(failures),
                        total=len(todo.clips) + len(todo.failures) + len(lost),
                        seconds=collector.seconds,
                        total_seconds=todo.seconds,
                        elapsed=time.perf_counter() - started,
                    )
                )

        try:
            # One batch stays in flight on the device while the one before it is collected.
            tidied = started
            for given in forward.results(prefetcher(batches, todo, backbone)):
                with writer.in_one_shard():
                    tell(collector.collect(given))
                if backbone.device.type == "cpu" and time.perf_counter() - tidied > TIDY_SECONDS:
                    release_free_memory()
                    tidied = time.perf_counter()
                if stop.asked:
                    break
        finally:
            succeeded = [clip for index in collector.done for clip in todo.named(index)]
            failure_list.update(store.folder, failed=failures, succeeded=[*todo.held, *succeeded])
    elapsed = time.perf_counter() - started
    nothing = not collector.done and not todo.cached
    if nothing and failures and not stop.asked:
        path, reason = next((identity[0], failure.reason) for identity, failure in failures.items())
        raise InputError(
            f"none of {len(failures)} clips could be embedded; the first: {reason}",
            where=path,
            do=f"all are listed in {store.folder / 'failures.csv'}",
        )
    return Summary(
        store=store.folder,
        fingerprint=extraction.fingerprint(),
        clips=todo.clips_asked,
        embedded=len(collector.done),
        cached=todo.cached,
        copies=todo.copies - len(lost),
        failures={identity: failure.reason for identity, failure in failures.items()},
        seconds=collector.seconds,
        elapsed=elapsed,
        padding=padding_share(batches),
        stopped=stop.asked,
    )
