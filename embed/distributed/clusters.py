"""The parts of a table as tasks of a Dask or Ray cluster, which runs a lost task again.

The workers need this package, the audio files and the cache under the same paths, as on a shared file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.places import remote_url
from layerprobe.embed.audio.headers import channel_clips
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.distributed.engines import ATTEMPTS, open_dask, open_ray, raise_dask_fault
from layerprobe.embed.distributed.sharing import divide
from layerprobe.embed.distributed.totals import Totals
from layerprobe.embed.extract.batching import batch_budget
from layerprobe.embed.extract.run import (
    ExtractionSummary,
    NothingEmbeddedError,
    Report,
    embed,
    require_success,
)
from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.models.backbones import plan_model

J = TypeVar("J")
R = TypeVar("R")
Task = Callable[[J, EmbedConfig], R | InputError]

PARTS_PER_WORKER = 4  # what a lost worker repeats is at most one of them; its finished shards stay


def embed_on_cluster(
    clips: Sequence[Clip], config: EmbedConfig, backend: str, *, report: Report | None = None
) -> ExtractionSummary:
    """`embed`, with parts of the table as tasks; `report` is called after each part.

    backend: `dask` (the scheduler of DASK_SCHEDULER_ADDRESS) or `ray` (the cluster of RAY_ADDRESS); without
    an address, a cluster of this machine's cores is started and stopped.

    Raises InputError if the package is missing or the cluster cannot be reached, WorkerKilledError if a part
    has lost ATTEMPTS workers; as `embed` otherwise.
    """
    # Workers have other working folders.
    clips = [replace(clip, file=str(clip.path.absolute())) for clip in clips]
    config = replace(config, cache=Path(remote_url(config.cache) or config.cache.absolute()))
    if Path(config.model).exists():
        config = replace(config, model=str(Path(config.model).absolute()))
    totals = Totals()
    open_cluster, kind = _BACKENDS[backend]
    with open_cluster() as connection:
        cluster = kind(connection)
        count = PARTS_PER_WORKER * cluster.workers()
        (division,) = cluster.run(_divide, [(clips, count)], config)
        parts = [part for part in _result(division) if part]
        for index, outcome in enumerate(cluster.run(_embed, parts, config)):
            result = _result(outcome)
            totals.update(index, result)
            if report:
                report(totals.ended(of=len(parts), clips=len(clips)))
    summary = totals.summary()
    require_success(summary)
    return summary


def _divide(job: tuple[Sequence[Clip], int], config: EmbedConfig) -> list[list[Clip]] | InputError:
    """The first task: which batches there are depends on the model, and on the device that a worker has."""
    clips, count = job
    try:
        backbone = plan_model(config).load()
        clips = channel_clips(clips, channels=config.channels, track=config.track)
        budget = batch_budget(config, backbone.device)
        return divide(clips, count, window=config.window, budget=budget, processed=backbone.processed)
    except InputError as error:
        return error


def _embed(clips: Sequence[Clip], config: EmbedConfig) -> ExtractionSummary | InputError:
    """One task: it is no error that all of its clips fail. Errors are results: engines print a traceback."""
    try:
        return embed(clips, config)
    except NothingEmbeddedError as error:
        return error.summary
    except InputError as error:
        return error


def _result(outcome: R | InputError) -> R:
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


class _Dask:
    """A Dask cluster: that of DASK_SCHEDULER_ADDRESS, else processes of this machine."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def workers(self) -> int:
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def run(self, task: Task[J, R], jobs: Sequence[J], config: EmbedConfig) -> Iterator[R | InputError]:
        from distributed import KilledWorker, as_completed

        futures = [self._client.submit(task, job, config, pure=False) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except KilledWorker as error:
            raise _lost() from error
        except Exception as error:
            raise_dask_fault(error)
        finally:
            self._client.cancel(futures)


class _Ray:
    """A Ray cluster: that of RAY_ADDRESS, else one on this machine."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def workers(self) -> int:
        resources = self._ray.cluster_resources()
        return max(1, int(resources.get("GPU") or resources.get("CPU", 1)))

    def run(self, task: Task[J, R], jobs: Sequence[J], config: EmbedConfig) -> Iterator[R | InputError]:
        ray = self._ray
        needs_gpu = config.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        remote = ray.remote(num_gpus=1 if needs_gpu else 0, max_retries=ATTEMPTS - 1)(task)
        shared = ray.put(config)
        pending = [remote.remote(job, shared) for job in jobs]
        while pending:
            done, pending = ray.wait(pending)
            try:
                yield ray.get(done[0])
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise _lost() from error


_BACKENDS: dict[str, tuple[Any, type[_Dask | _Ray]]] = {"dask": (open_dask, _Dask), "ray": (open_ray, _Ray)}


def _lost() -> WorkerKilledError:
    return WorkerKilledError(
        f"a part of the table has lost {ATTEMPTS} workers (out of memory?); what was computed is saved, and "
        "the same command computes the rest"
    )
