"""Processes that each run one unit of work after another and talk back while they do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

# One thread each; and glibc keeps what is freed, as arrays of megabytes come and go in every fit.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}

Run = Callable[[Any], Iterator[Any]]


@dataclass(frozen=True)
class _Failed:
    error: Exception
    trace: str


@dataclass(frozen=True)
class _Finished:
    pass


def messages(run: Run, units: Sequence[Any], *, jobs: int) -> Generator[Any, None, None]:
    """Whatever `run(unit)` yields, of all units, as it comes; each process uses one thread.

    run: a module-level function that yields messages; it and the units are pickled. With one job the work is
    done in this process. An exception in a worker is raised here, and so is the death of one. Workers end
    with this process, however it ends: the next message of an orphan finds its pipe closed. jobs: 1 or more.
    """
    if jobs < 1:
        raise ValueError(f"{jobs} processes")
    if jobs == 1 or len(units) < 2:
        with threadpool_limits(1):
            for unit in units:
                yield from run(unit)
        return
    context = multiprocessing.get_context("spawn")
    pipes: dict[Connection, Any] = {}
    waiting = list(reversed(units))
    try:
        with _environment(SETTINGS), _deaf_children():
            for _ in range(min(jobs, len(units))):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(run, theirs), daemon=True)
                process.start()
                theirs.close()
                pipes[ours] = process
                ours.send(waiting.pop())
        busy = set(pipes)
        while busy:
            for pipe in [pipe for pipe in wait(list(busy)) if isinstance(pipe, Connection)]:
                try:
                    message = pipe.recv()
                except EOFError:
                    process = pipes[pipe]
                    process.join()
                    raise RuntimeError(
                        f"a worker process died (exit code {process.exitcode}); "
                        "if it ran out of memory, give fewer jobs"
                    ) from None
                if isinstance(message, _Failed):
                    message.error.add_note(message.trace)
                    raise message.error
                if not isinstance(message, _Finished):
                    yield message
                elif waiting:
                    pipe.send(waiting.pop())
                else:
                    busy.discard(pipe)
    finally:
        for pipe, process in pipes.items():
            pipe.close()
            process.terminate()
            process.join()


def _work(run: Run, pipe: Connection) -> None:
    """Run units until the pipe closes."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        while True:
            unit = pipe.recv()
            try:
                for message in run(unit):
                    pipe.send(message)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                pipe.send(_Failed(error, traceback.format_exc()))
                return
            pipe.send(_Finished())


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C: whoever started them does, and ends them.

    A terminal sends it to all, and one that is still importing would answer with a traceback.
    """
    resource_tracker.ensure_running()  # it unblocks the signal when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes started meanwhile: libraries read them once, when they are loaded."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def job_count(jobs: int) -> int:
    """Processes for `jobs`; −1 is one for each core this process may use, −2 one fewer, and so on."""
    cores = len(os.sched_getaffinity(0))
    return jobs if jobs > 0 else max(1, cores + 1 + jobs)
