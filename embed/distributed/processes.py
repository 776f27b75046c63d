"""The parts of a table in processes of this machine, each on a device of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.interrupts import GracefulStop, Interrupted
from layerprobe.cache.common.processes import end_with_parent
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.distributed.sharing import Part, selection
from layerprobe.embed.distributed.totals import Totals
from layerprobe.embed.extract.run import (
    ExtractionSummary,
    NothingEmbeddedError,
    Report,
    embed,
    require_success,
)
from layerprobe.embed.manifest.clips import Clip

POLL_SECONDS = 0.2  # between two looks for Ctrl-C


def embed_on_devices(
    clips: Sequence[Clip], config: EmbedConfig, devices: Sequence[str], *, report: Report | None = None
) -> ExtractionSummary:
    """`embed`, with a process for each device; all write to the same store.

    Ctrl-C and SIGTERM end every process after its batch. Where a process is killed the others finish, and
    WorkerKilledError is raised at the end. Raises as `embed` otherwise; with `on_error="stop"`, the first
    error stops all.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, tuple[int, SpawnProcess]] = {}
    totals = Totals()
    failed: list[InputError] = []
    killed = 0
    try:
        for index, device in enumerate(devices):
            part = Part(index=index, count=len(devices))
            ours, theirs = context.Pipe(duplex=False)
            job = (theirs, os.getpid(), clips, replace(config, device=device), part)
            process = context.Process(target=_work, args=job)
            process.start()
            theirs.close()
            running[ours] = index, process
        stopping = False
        with GracefulStop() as stop:
            while running:
                for connection in wait(list(running), timeout=POLL_SECONDS):
                    assert isinstance(connection, Connection)
                    index, process = running[connection]
                    try:
                        news = connection.recv()
                    except EOFError:  # the process has ended; or was killed before its summary
                        process.join()
                        killed += process.exitcode != 0
                        del running[connection]
                        continue
                    if isinstance(news, InputError):
                        failed.append(news)
                        continue
                    totals.update(index, news)
                    if report:
                        report(totals.progress())
                must_stop = stop.requested or (failed and config.on_error == "stop")
                if must_stop and not stopping:
                    stopping = True
                    for _, process in running.values():
                        process.terminate()  # it finishes its batch, as after Ctrl-C
    finally:
        for _, process in running.values():  # after a second Ctrl-C; the store survives it
            process.kill()
    if failed:
        raise failed[0]
    if stopping and not totals.summaries:
        raise Interrupted("no clip was computed yet")
    if killed and not stopping:
        count = f"{killed} of {len(devices)} processes"
        raise WorkerKilledError(
            f"{count} were killed (out of memory?), the others finished; the same command computes the rest"
        )
    summary = totals.summary()
    if not summary.stopped:
        require_success(summary)
    return summary


def embed_part(
    clips: Sequence[Clip], config: EmbedConfig, part: Part, *, report: Report | None = None
) -> ExtractionSummary:
    """`embed` for one of several parts: it is no error that all of its clips fail."""
    try:
        return embed(clips, config, select=selection(part, config), report=report)
    except NothingEmbeddedError as error:
        return error.summary


def _work(
    connection: Connection, parent: int, clips: Sequence[Clip], config: EmbedConfig, part: Part
) -> None:
    """Embed one part in this new process, and send its progress, its summary or its error."""
    os.setsid()  # Ctrl-C in a terminal reaches the parent alone, which then ends this process
    end_with_parent(parent)
    try:
        connection.send(embed_part(clips, config, part, report=connection.send))
    except InputError as error:
        connection.send(error)
