"""joblib backends that run tasks on a Dask or Ray cluster.

Those of joblib and Ray lack what a search needs: joblib's for Dask waits forever for a task whose workers
were lost; Ray's, a pool of actors, does not run it again; both ignore `--jobs` or send shared objects with
every task.
"""

from __future__ import annotations

import pickle
import threading
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from joblib.parallel import ParallelBackendBase, ThreadingBackend

from layerprobe.cache.common.errors import WorkerKilledError
from layerprobe.embed.distributed.engines import ATTEMPTS, SAME_COMMAND, raise_dask_fault

_task = threading.local()  # of the task that this thread runs: `shared` and `is_cancelled`


def shared_objects() -> Sequence[Any]:
    """In a task: what `ClusterBackend.share` was given."""
    objects: Sequence[Any] = _task.shared
    return objects


def is_cancelled() -> bool:
    """In a task: whether nobody waits for it any more."""
    return bool(_task.is_cancelled())


class ClusterBackend(ParallelBackendBase):
    """Tasks of a cluster, each of which runs again if its worker is lost, ATTEMPTS times at most."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self) -> None:
        super().__init__(nesting_level=0)
        self._stopped = False

    @abstractmethod
    def cores(self) -> int:
        """Tasks that the cluster can run at a time, as of now."""

    @abstractmethod
    def share(self, objects: Sequence[Any]) -> None:
        """Send what all following tasks share to the workers, once."""

    @abstractmethod
    def stop(self) -> None:
        """Cancel all tasks."""

    def start_call(self) -> None:
        self._stopped = False

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """`n_jobs` tasks at a time, which a cluster that grows may have later; -1 for one on each core."""
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        return max(1, self.cores() + 1 + (n_jobs or -1))

    def get_nested_backend(self) -> tuple[ParallelBackendBase, None]:
        return ThreadingBackend(nesting_level=1), None


class DaskBackend(ClusterBackend):
    """client: a `distributed.Client`."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client
        self._shared: Any = ()
        self._futures: set[Any] = set()

    def cores(self) -> int:
        return sum(self._client.ncores().values())

    def share(self, objects: Sequence[Any]) -> None:
        # The result of a task, which runs again where all workers that had it are lost; not scattered data,
        # which would be lost with them.
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about its size
            self._shared = self._client.submit(pickle.loads, pickle.dumps(list(objects)), pure=False)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> Any:
        future = self._client.submit(_run_in_dask, func, self._shared, pure=False)
        self._futures.add(future)
        future.add_done_callback(callback)
        if self._stopped:
            self._client.cancel([future])
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        from distributed import KilledWorker

        self._futures.discard(out)
        try:
            return out.result()
        except KilledWorker as error:
            raise _lost() from error
        except Exception as error:
            raise_dask_fault(error)

    def stop(self) -> None:
        self._stopped = True
        self._client.cancel(list(self._futures))
        self._futures.clear()


def _run_in_dask(func: Callable[[], Any], shared: Sequence[Any]) -> Any:
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return _run(func, shared, is_cancelled)


class RayBackend(ClusterBackend):
    """ray: the module, connected to a cluster."""

    def __init__(self, ray: Any) -> None:
        super().__init__()
        self._ray = ray
        self._shared: Any = ()
        self._refs: dict[Future[Any], Any] = {}
        self._remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_run_in_ray)

    def cores(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 1))

    def share(self, objects: Sequence[Any]) -> None:
        self._shared = self._ray.put(list(objects))

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> Any:
        ref = self._remote.remote(func, self._shared)
        future: Future[Any] = ref.future()
        self._refs[future] = ref
        future.add_done_callback(callback)
        if self._stopped:
            self._ray.cancel(ref, force=True)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        self._refs.pop(out, None)
        exceptions = self._ray.exceptions
        try:
            return out.result()
        except (
            exceptions.WorkerCrashedError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
        ) as error:
            raise _lost() from error

    def stop(self) -> None:
        self._stopped = True
        for ref in list(self._refs.values()):
            self._ray.cancel(ref, force=True)


def _run_in_ray(func: Callable[[], Any], shared: Sequence[Any]) -> Any:
    return _run(func, shared, lambda: False)  # Ray ends the process of a cancelled task


def _run(func: Callable[[], Any], shared: Sequence[Any], is_cancelled: Callable[[], bool]) -> Any:
    _task.shared, _task.is_cancelled = shared, is_cancelled
    try:
        return func()
    finally:
        _task.shared = ()


def _lost() -> WorkerKilledError:
    return WorkerKilledError(
        f"a part of the search has lost {ATTEMPTS} workers (out of memory?); {SAME_COMMAND}"
    )
