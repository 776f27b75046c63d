"""The workers that `--backend` names: processes of this machine, or of a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import get_args

import joblib

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_choice
from layerprobe.classify.search.clusters import LOKY, BackendName
from layerprobe.classify.search.sharing.server import is_server
from layerprobe.embed.distributed.engines import open_dask, open_ray


@contextmanager
def workers_of(backend: str, *, jobs: int, storage: str | None) -> Iterator[int]:
    """Run units on the workers of `backend` while the block runs. Gives the number of workers.

    jobs, storage: those of the study's options; `jobs` units at a time, -1 for one on each core of the
    cluster. Raises InputError if the cluster cannot be used, and for a storage on a server.
    """
    check_choice("--backend", backend, get_args(BackendName))
    if backend == LOKY:
        yield jobs
        return
    if is_server(storage):
        what = f"--backend {backend} with --storage on a server, through which processes share a search"
        raise InputError(what, do=f"omit --storage: the {backend} cluster divides the search")
    from layerprobe.classify.search.clusters.backends import ClusterBackend, DaskBackend, RayBackend

    count = jobs if jobs > 0 else None
    with ExitStack() as stack:
        cluster: ClusterBackend
        if backend == "dask":
            cluster = DaskBackend(stack.enter_context(open_dask(workers=count)))
        else:
            cluster = RayBackend(stack.enter_context(open_ray(cpus=count)))
        stack.enter_context(joblib.parallel_config(backend=cluster))
        yield joblib.effective_n_jobs(jobs)
