"""What a cluster that cannot be used is reported as."""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.embed.distributed import engines


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "[::1]:9", "127.0.0.1:99999"])
def test_a_ray_cluster_that_does_not_answer_is_not_waited_for(monkeypatch, address):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray tries for minutes"))
    expected = re.escape(f"the Ray cluster {address} does not answer; start it, or unset RAY_ADDRESS")
    with pytest.raises(InputError, match=expected), engines.open_ray():
        pass


class Unloadable:
    """An object of a package that only this process has."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return importlib.import_module, ("no_such_package",)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    settings = {
        "n_workers": 1,
        "processes": False,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": engines.QUIET,
    }
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        yield client


def test_a_scheduler_that_goes_away_is_not_logged(client):
    import dask

    with dask.config.set({"scheduler-address": client.scheduler.address}), engines.open_dask() as other:
        assert other.submit(divmod, 7, 2, pure=False).result() == (3, 1)
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


def fault_of(future) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        future.result()
    return raised.value


def test_a_task_that_dask_cannot_load_is_one_line(client):
    error = fault_of(client.submit(len, Unloadable(), pure=False))
    with pytest.raises(InputError, match="cannot load a task; install layerprobe for the scheduler and all"):
        engines.raise_dask_fault(error)


def test_a_task_that_dask_has_forgotten_is_one_line(client):
    future = client.submit(time.sleep, 0.2, pure=False)
    client.cancel([future])
    with pytest.raises(WorkerKilledError, match=r"the Dask scheduler is gone, .*run the same command again"):
        engines.raise_dask_fault(fault_of(future))


def test_an_error_of_a_task_stays_what_it_is(client):
    error = fault_of(client.submit(divmod, 1, 0, pure=False))
    with pytest.raises(ZeroDivisionError):
        engines.raise_dask_fault(error)
