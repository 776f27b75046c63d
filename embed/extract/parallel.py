"""Several batches at a time on a CPU, each computed by one thread.

Threads that share one batch wait for each other after every operation: small models spend most of their time
so, and on a machine with other work each wait lasts until the slowest thread is scheduled again.
"""

from __future__ import annotations

import copy
import queue
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import torch
from torch import nn

from layerprobe.cache.identity.extraction import Extraction
from layerprobe.embed.extract.forward import ForwardPass
from layerprobe.embed.extract.prefetch import Batch
from layerprobe.embed.extract.results import BatchResult
from layerprobe.embed.models.interface import Backbone

MAX_WORKERS = 8  # each holds the activations of a batch


class Replicas:
    """A backbone and copies of it on the same weights, made when they are first needed and used again."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbones = [backbone]

    @property
    def device(self) -> torch.device:
        return self._backbones[0].device

    def first(self, count: int) -> list[Backbone]:
        """So many backbones that may run at the same time. Not to be called by two threads at once."""
        while len(self._backbones) < count:
            self._backbones.append(with_same_weights(self._backbones[0]))
        return self._backbones[:count]


class ParallelForward:
    """`ForwardPass` on as many batches at a time as there are threads; on a GPU, on one.

    batches: how many there will be; a single batch is computed by all threads. The number of threads is
    torch's (`OMP_NUM_THREADS`, else the cores).
    """

    def __init__(self, replicas: Replicas, extraction: Extraction, *, budget: int, batches: int) -> None:
        self._threads = torch.get_num_threads()
        backbones = replicas.first(worker_count(replicas.device, batches=batches))
        self._passes = [ForwardPass(each, extraction, budget=budget) for each in backbones]

    @property
    def recomputed(self) -> int:
        """As `ForwardPass.recomputed`."""
        return sum(forward.recomputed for forward in self._passes)

    def results(self, batches: Iterable[Batch]) -> Generator[BatchResult, None, None]:
        """The results in the order of the batches."""
        if len(self._passes) == 1:
            yield from self._passes[0].results(batches)
            return
        idle: queue.SimpleQueue[ForwardPass] = queue.SimpleQueue()
        for forward in self._passes:
            idle.put(forward)

        def compute(batch: Batch) -> list[BatchResult]:
            forward = idle.get()
            try:
                return list(forward.results([batch]))
            finally:
                idle.put(forward)

        workers = len(self._passes)
        futures: deque[Future[list[BatchResult]]] = deque()
        share = self._threads // workers
        pool = ThreadPoolExecutor(workers, "forward", initializer=torch.set_num_threads, initargs=(share,))
        try:
            for batch in batches:
                futures.append(pool.submit(compute, batch))
                if len(futures) > workers:  # one waits, so that no thread does
                    yield from futures.popleft().result()
            while futures:
                yield from futures.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads)  # also the default of threads that start later


def worker_count(device: torch.device, *, batches: int) -> int:
    """How many of so many batches are computed at a time."""
    return max(1, min(torch.get_num_threads(), MAX_WORKERS, batches)) if device.type == "cpu" else 1


def with_same_weights(backbone: Backbone) -> Backbone:
    """A copy of the backbone that another thread can run; both hold the same tensors in memory."""
    modules = [value for value in vars(backbone).values() if isinstance(value, nn.Module)]
    tensors = chain.from_iterable(chain(module.parameters(), module.buffers()) for module in modules)
    return copy.deepcopy(backbone, {id(tensor): tensor for tensor in tensors})
