"""The processes that train one model together, as torchrun and `accelerate launch` start them (DDP).

Each computes the gradient of its share of every batch. The first process alone reads and writes the run
folder and decides; the others follow.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
from torch import distributed

from layerprobe.cache.common.errors import InputError, WorkerKilledError

Result = TypeVar("Result")
GRACE_SECONDS = 10.0  # for the line that the first process prints
PATIENCE = timedelta(days=1)  # the others wait while the first process tests a fold
LOST = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL", "Socket")


@dataclass(frozen=True)
class Group:
    """This process's number and how many there are; a single process has no one to talk to."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def from_first(self, make: Callable[[], Result]) -> Result:
        """What `make` returns in the first process, in all of them; it is called there only."""
        if self.size == 1:
            return make()
        box: list[Result | None] = [make() if self.is_first else None]
        distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in one of the processes."""
        if self.size == 1:
            return flag
        count = torch.tensor([int(flag)])
        distributed.all_reduce(count)
        return bool(count.item())

    def gather(self, value: Result) -> list[Result]:
        """The values of all processes, in order."""
        values: list[Result | None] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]


ALONE = Group()


def find_group(environment: Mapping[str, str]) -> Group:
    """The group that the launcher has made. Raises InputError for one that shards the model."""
    for name, kind in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if environment.get(name, "false").lower() in ("true", "1"):
            do = "launch with torchrun, or with accelerate's type for several GPUs (DDP), and give --fsdp"
            raise InputError(f"the launcher's {kind} is not supported", do=do)
    if "RANK" not in environment:
        return ALONE
    return Group(rank=int(environment["RANK"]), size=int(environment.get("WORLD_SIZE", "1")))


@contextmanager
def connected(group: Group, device: torch.device) -> Iterator[None]:
    """Connect the processes while the block runs.

    Raises WorkerKilledError in the first process if another one ends early; the others end without a word.
    """
    if group.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in LOST):
            raise
        if not group.is_first:
            end_silently()
        what = "another process of this fine-tuning has ended early"
        raise WorkerKilledError(
            f"{what}; finished folds and the last checkpoint are kept, and the same command resumes"
        ) from error
    distributed.destroy_process_group()


@contextmanager
def reported_by_first() -> Iterator[None]:
    """End without a word where the first process finds the same fault in the same input."""
    try:
        yield
    except InputError:
        if not distributed.is_initialized() and os.environ.get("RANK", "0") != "0":
            end_silently()
        raise


def end_silently(status: int = 1, *, grace: float = GRACE_SECONDS) -> NoReturn:
    """End a process whose fault or interruption another process reports, once that has had time to.

    The launcher ends all processes as soon as one has ended with an error. grace: seconds.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    time.sleep(grace)
    os._exit(status)
