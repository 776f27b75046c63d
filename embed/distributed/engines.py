"""Connections to a Dask or Ray cluster; without an address, one of this machine that is started and stopped.

Imports neither torch nor a model: searches use the same clusters.
"""

from __future__ import annotations

import logging
import multiprocessing.resource_tracker
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from layerprobe.cache.common.errors import InputError, WorkerKilledError

ATTEMPTS = 3  # of a task whose worker is lost, before the run fails
SAME_COMMAND = "run the same command again: what is finished is not computed again"
WAIT_SECONDS = 30.0  # for the first worker of a cluster that has none
CONNECT_SECONDS = 10.0
QUIET = logging.CRITICAL  # a cluster that is stopped logs its closed connections


@contextmanager
def open_dask(*, workers: int | None = None) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler of DASK_SCHEDULER_ADDRESS, else of processes of this machine.

    workers: processes to start here, with one thread each; one for each core if omitted. Raises InputError if
    the package is missing, the scheduler does not answer or has no worker.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise _missing("dask", "distributed") from error
    address = dask.config.get("scheduler-address", None)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS - 1}))
        with _without_interrupts():
            if not address:
                local = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=QUIET,
                )
                client = stack.enter_context(Client(stack.enter_context(local)))
            else:
                client = stack.enter_context(_dask_client(address))
        try:
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            do = f"start some, as with: dask worker {address}"
            raise InputError(f"the Dask scheduler {address} has no workers", do=do) from error
        yield client


def _dask_client(address: str) -> Any:
    from distributed import Client

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(QUIET)
    try:
        return Client(address)
    except (OSError, ValueError) as error:  # ValueError: no port in the address, or an unknown protocol
        do = "start it, or unset DASK_SCHEDULER_ADDRESS"
        raise InputError(f"the Dask scheduler {address} does not answer", do=do) from error


@contextmanager
def open_ray(*, cpus: int | None = None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster of RAY_ADDRESS, else to one that is started on this machine.

    cpus: tasks at a time of a cluster that is started; one for each core if omitted. Raises InputError if the
    package is missing or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise _missing("ray", "ray") from error
    address = os.environ.get("RAY_ADDRESS")
    here = str(Path(__file__).resolve().parents[2])  # of a checkout, which is not installed
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    local: dict[str, Any] = {"num_cpus": cpus, "runtime_env": {"env_vars": {"PYTHONPATH": path}}}
    if address:
        _check_that_ray_answers(address)
    try:
        with _without_interrupts():
            ray.init(
                address=address, logging_level="ERROR", log_to_driver=False, **({} if address else local)
            )
    except ConnectionError as error:
        raise _no_ray(address) from error
    except (ValueError, RuntimeError) as error:  # such as another version of Ray or Python there
        reason = " ".join(str(error).split())
        raise InputError(f"no Ray cluster at {address or 'this machine'} ({reason})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def raise_dask_fault(error: Exception) -> NoReturn:
    """Raise the line for what Dask says about a task that did not run; another error is raised as it is."""
    from distributed.client import FutureCancelledError

    if isinstance(error, FutureCancelledError):
        what = "the Dask scheduler is gone, and with it what it had still to do"
        raise WorkerKilledError(f"{what}; {SAME_COMMAND}") from error
    if isinstance(error, RuntimeError) and "deserialization of the task graph" in str(error):
        what = "the Dask scheduler or a worker cannot load a task"
        do = "install layerprobe for the scheduler and all workers, in the version that this process has"
        raise InputError(what, do=do) from error
    raise error


def _check_that_ray_answers(address: str) -> None:
    """Raise InputError if nothing listens at HOST:PORT; `ray.init` tries for minutes, and logs each time."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():  # `auto`
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:  # OverflowError: no port has this number
        raise _no_ray(address) from error


def _no_ray(address: str | None) -> InputError:
    do = "start it, or unset RAY_ADDRESS"
    return InputError(f"the Ray cluster {address} does not answer", do=do)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT in this thread, and in threads and processes started meanwhile.

    A terminal sends Ctrl-C to all processes. Only this one, which ends the others, reacts.
    """
    multiprocessing.resource_tracker.ensure_running()  # started below, it would unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # raises a Ctrl-C that came meanwhile


def _missing(backend: str, package: str) -> InputError:
    return InputError(
        f"--backend {backend} needs the package {package}", do=f"pip install 'layerprobe[{backend}]'"
    )
