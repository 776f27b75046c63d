"""Run units of work in parallel with joblib, and yield what they report while they run.

joblib returns a task's result when the task has ended. A search shows and stores each trial as it ends, so a
unit also writes its messages to a temporary folder, which the main process polls. Workers on other machines
do not see that folder: their messages come with the result.
"""

from __future__ import annotations

import itertools
import multiprocessing.resource_tracker
import os
import pickle
import queue
import resource
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor, process_executor
from joblib.externals.loky.backend import resource_tracker
from joblib.parallel import LokyBackend, get_active_backend
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.metering import count_worker, peak_memory
from layerprobe.cache.common.processes import end_with_parent
from layerprobe.classify.search.clusters.backends import ClusterBackend, is_cancelled, shared_objects
from layerprobe.classify.search.clusters.packing import PackedUnit, pack, read_shared, write_shared
from layerprobe.classify.search.clusters.visible import require_stores

# One thread per worker; and glibc keeps freed memory, since each fit allocates and frees arrays of megabytes.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
POLL_SECONDS = 0.05

UnitFunction = Callable[[Any], Iterator[Any]]


def run_parallel(
    function: UnitFunction, units: Sequence[Any], *, jobs: int, shared: Sequence[Any] = ()
) -> Generator[Any, None, None]:
    """Yield what `function(unit)` yields for every unit, as it comes, in order within a unit.

    function: a module-level generator function; it, the units and the messages are pickled. jobs: workers,
    one thread each; with one worker or one unit the work is done in this process, unless a cluster has been
    selected. shared: objects that the units refer to; they travel to each worker once.

    Workers are loky's, or those of the backend that `joblib.parallel_config` selects. loky's workers end with
    this process, however it ends. Raises the exception of a unit, and WorkerKilledError if a worker process
    is killed, on a cluster if a unit loses several.
    """
    if jobs < 1:
        raise ValueError(f"{jobs} workers")
    on_cluster = isinstance(get_active_backend()[0], ClusterBackend)
    if not units or (not on_cluster and (jobs == 1 or len(units) < 2)):
        with threadpool_limits(1):
            for unit in units:
                yield from function(unit)
        return
    with tempfile.TemporaryDirectory(prefix="layerprobe-") as temporary, threadpool_limits(1):
        folder = Path(temporary) / "messages"
        folder.mkdir()
        with _started(function, units, folder, jobs=jobs, shared=shared) as finished:
            yield from _messages(folder, finished, len(units))


def job_count(jobs: int) -> int:
    """Number of workers for `jobs`: -1 is one for each core of the active joblib backend, -2 one fewer."""
    return int(joblib.effective_n_jobs(jobs))


@contextmanager
def _started(
    function: UnitFunction, units: Sequence[Any], folder: Path, *, jobs: int, shared: Sequence[Any]
) -> Iterator[queue.SimpleQueue[Any]]:
    """Start the workers, and end them with the block. Gives the queue of finished units.

    Workers are started with SIGINT blocked: a terminal sends Ctrl-C to all processes, and only this one,
    which ends the workers, reacts. A worker that is still importing would print a traceback.
    """
    backend, _ = get_active_backend()
    is_loky = isinstance(backend, LokyBackend)
    config = nullcontext()
    if is_loky:
        config = joblib.parallel_config(
            backend="loky", inner_max_num_threads=1, initializer=_set_up_worker, initargs=(os.getpid(),)
        )
        with _environment({"PYTHONWARNINGS": "ignore"}):  # no list of what a killed run has left behind
            # Both trackers that loky needs; started below, they would unblock SIGINT.
            multiprocessing.resource_tracker.ensure_running()
            resource_tracker.ensure_running()
    file: Path | None = None
    packed: Iterable[Any] = units
    if isinstance(backend, ClusterBackend):
        backend.share(shared)
        packed = (pack(unit, shared) for unit in units)
    elif shared:
        file = folder.with_name("shared")
        write_shared(file, shared)
        packed = (pack(unit, shared) for unit in units)
    tasks = (
        joblib.delayed(_run_unit)(function, unit, number, folder, file) for number, unit in enumerate(packed)
    )
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    collector = None
    complete = False
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            with config, _environment(WORKER_ENVIRONMENT):
                if backend.supports_return_generator:
                    # joblib would run the tasks of one job here, and send twice as many as it has jobs.
                    on_cluster = isinstance(backend, ClusterBackend)
                    parallel = joblib.Parallel(
                        n_jobs=max(2, jobs) if on_cluster else jobs,
                        batch_size=1,
                        pre_dispatch=jobs if on_cluster else "2 * n_jobs",
                        return_as="generator_unordered",
                    )
                    results = parallel(tasks)
                else:  # it returns when all is done: called by the thread
                    parallel = joblib.Parallel(n_jobs=jobs, batch_size=1)
                    results = itertools.chain.from_iterable(map(parallel, [tasks]))
            collector = threading.Thread(target=_collect, args=(results, finished))
            collector.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)  # raises a Ctrl-C that came meanwhile
        yield finished
        complete = True
    finally:
        folder.rename(folder.with_name("stopped"))  # a unit that is still running fails at its next message
        if is_loky:
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=not complete)
        if isinstance(backend, ClusterBackend) and not complete:
            backend.stop()
        if collector is not None:
            collector.join()


def _set_up_worker(parent: int) -> None:
    """Make this loky worker end when its parent does, even if the parent is killed."""
    end_with_parent(parent)
    # loky replaces workers that grow by 300 MB, which it takes for a leak; here it is the cache of a unit.
    process_executor._USE_PSUTIL = False


@dataclass(frozen=True)
class _Finished:
    """A unit's number and all its messages. error: what ended it on a cluster, whose engine would log it.

    memory: peak of a worker on a cluster, in bytes; loky's are children, which the system measures.
    """

    number: int
    messages: list[Any]
    memory: int = 0
    error: Exception | None = None


def _run_unit(function: UnitFunction, unit: Any, number: int, folder: Path, file: Path | None) -> _Finished:
    """Run one unit in a worker; its messages were also written to `folder`, if the worker sees it.

    file: with the objects that a packed unit refers to; None on a cluster, which has sent them itself.
    """
    on_cluster = isinstance(unit, PackedUnit) and file is None
    messages: list[Any] = []
    try:
        with threadpool_limits(1):
            if isinstance(unit, PackedUnit):
                shared = shared_objects() if file is None else read_shared(file)
                if on_cluster:
                    require_stores(shared)
                unit = unit.unpack(shared)
            is_seen = folder.is_dir()  # not on another machine
            for message in function(unit):
                if on_cluster and is_cancelled():
                    break
                if is_seen:
                    # A cluster may run a unit again that it takes for lost: each process has its own file.
                    part = folder / f"{number}-{len(messages)}.{os.getpid()}"
                    part.write_bytes(pickle.dumps(message))
                    part.rename(folder / f"{number}-{len(messages)}")
                messages.append(message)
    except Exception as error:
        if not on_cluster:
            raise
        if not isinstance(error, InputError):
            error.add_note(traceback.format_exc())
        return _Finished(number, messages, error=error)
    return _Finished(number, messages, memory=peak_memory(resource.RUSAGE_SELF) if on_cluster else 0)


def _collect(results: Iterator[_Finished], finished: queue.SimpleQueue[Any]) -> None:
    """Put each finished unit into the queue, at the end None or the exception that ended the run."""
    try:
        for result in results:
            finished.put(result)
        finished.put(None)
    except BaseException as error:
        finished.put(error)


def _messages(folder: Path, finished: queue.SimpleQueue[Any], units: int) -> Iterator[Any]:
    """Every message once: from `folder` while its unit runs, the rest from the finished unit."""
    counts = [0] * units  # messages of each unit so far
    while True:
        try:
            result = finished.get(timeout=POLL_SECONDS)
        except queue.Empty:
            result = _Finished(-1, [])
        for number in sorted({int(path.name.partition("-")[0]) for path in folder.iterdir()}):
            while (path := folder / f"{number}-{counts[number]}").exists():
                message = pickle.loads(path.read_bytes())
                path.unlink()
                counts[number] += 1
                yield message
        if result is None:
            return
        if isinstance(result, process_executor.TerminatedWorkerError):
            raise WorkerKilledError(
                "a worker process was killed (out of memory?); run the same command again with a smaller "
                "--jobs: what a run folder holds is not computed again"
            ) from result
        if isinstance(result, BaseException):
            raise result
        if result.number >= 0:
            yield from result.messages[counts[result.number] :]
            counts[result.number] = len(result.messages)
            count_worker(result.memory)
        if result.error is not None:
            raise result.error


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes started meanwhile: libraries read them once, when they are loaded."""
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
