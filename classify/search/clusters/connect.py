"""The workers that `--backend` names: processes of this machine, or of a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import get_args

import joblib

from layerprobe.cache.common.options import check_choice
from layerprobe.classify.search.clusters import LOKY, BackendName
from layerprobe.embed.distributed.engines import open_dask, open_ray


@contextmanager
def workers_of(backend: str, *, jobs: int) -> Iterator[int]:
    """Run units on the workers of `backend` while the block runs. Gives the number of workers.

    jobs: units at a time, as in the study's options; -1 for one on each core of the cluster. Raises
    InputError if the cluster cannot be used.
    """
    check_choice("--backend", backend, get_args(BackendName))
    if backend == LOKY:
        yield jobs
        return
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
