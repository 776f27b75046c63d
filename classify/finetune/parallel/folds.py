"""The outer folds that this process trains, where several processes train those of one run.

The processes need not know of each other. They write to one run folder, but never to the same file: results,
checkpoints and trials have a file or folder for each fold, and costs one for each part. Whoever finds the
results of all folds at its end completes the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.disk import locked
from layerprobe.cache.common.errors import InputError
from layerprobe.embed.distributed.parts import parse_part

OPTION = "--folds-of"
LOCK = ".lock"  # exclusive for a process that trains all folds, shared by parts
COMPLETING = ".lock-completing"  # held for what parts do once: begin the run, complete it


@dataclass(frozen=True, kw_only=True)
class FoldShare:
    """Part `part` of `count`, from 1, of the outer folds of a run."""

    part: int
    count: int

    def __str__(self) -> str:
        return f"{self.part}-of-{self.count}"

    def folds(self, total: int) -> list[int]:
        """Every `count`-th of `total` outer folds. Raises InputError if a part would have none."""
        if self.count > total:
            what = f"{OPTION} {self.part}/{self.count}, but there are {total} outer folds"
            raise InputError(what, do=f"give at most {total} parts, such as 1/{total}")
        return list(range(self.part - 1, total, self.count))


def parse_share(option: str | None) -> FoldShare | None:
    """The share that `--folds-of` names; None for all folds. Raises InputError."""
    if option is None:
        return None
    part, count = parse_part(option, name=OPTION)
    return FoldShare(part=part, count=count)


@contextmanager
def own_folds(out: Path, share: FoldShare | None, folds: Sequence[int]) -> Iterator[None]:
    """Let no other process train these folds meanwhile. Raises InputError if one does."""
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out / LOCK, shared=share is not None, wait=False))
        except BlockingIOError:
            do = "wait for it" if share is None else f"wait for it, or start each process with {OPTION}"
            raise InputError("another process is writing this run", where=str(out), do=do) from None
        for fold in folds if share is not None else ():
            try:
                stack.enter_context(locked(out / f"{LOCK}-fold-{fold}", wait=False))
            except BlockingIOError:
                do = f"wait for it, or give another part to {OPTION}"
                raise InputError(f"another process is training fold {fold}", where=str(out), do=do) from None
        yield


@contextmanager
def alone(out: Path, share: FoldShare | None) -> Iterator[None]:
    """Wait until no other part begins or completes the run, and let none do so meanwhile."""
    with ExitStack() as stack:
        if share is not None:
            stack.enter_context(locked(out / COMPLETING))
        yield
