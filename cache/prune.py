"""What may go: the stores of a model, or clips that no table names any more. A plan first, then the deed."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cache import costs, failures
from cache.durable import locked
from cache.errors import StoreError
from cache.info import open_stores
from cache.maintenance import LOCK, Piece, maintaining, remove, rewrite
from cache.shard import list_shards, stat_shards, to_digests
from cache.store import RECORD, FeatureStore
from cache.verify import ASIDE
from cache.writer import WRITERS


@dataclass(frozen=True)
class StorePlan:
    """What goes from one store: `clips` of them, about `nbytes`; with `whole`, the store itself."""

    folder: Path
    model: str
    fingerprint: str
    clips: int
    clips_left: int
    nbytes: int
    whole: bool
    shards: tuple[str, ...] = field(repr=False)  # that are removed, or written anew without the clips that go


@dataclass(frozen=True)
class PrunePlan:
    """What `apply` removes: this, and nothing that comes to the stores after it was planned."""

    cache: Path
    stores: list[StorePlan]
    keep: np.ndarray | None = field(repr=False)  # digests (N,) S32 of the clips that stay; None: none do
    faults: list[str]  # of stores that cannot be read, and are left alone


def plan(cache: Path, *, model: str | None = None, keep: Collection[str] | None = None) -> PrunePlan:
    """Say what would go, and remove nothing.

    model: only the stores embedded under this name; all of them goes where `keep` is None.
    keep: keys of the clips that stay; all others go. A store left with none goes whole.
    Raises StoreError where neither is given, or a shard is damaged: what it holds is not known then.
    """
    if model is None and keep is None:
        raise StoreError(
            "nothing says what may go", where=str(cache), do="name a model, or the tables whose clips stay"
        )
    stores, faults = open_stores(cache, model=model)
    digests = None if keep is None else to_digests(sorted(keep))
    plans = [_plan_store(store, digests) for store in stores]
    return PrunePlan(
        cache, [p for p in plans if p.whole or p.clips], digests, [fault.line() for fault in faults]
    )


def apply(plan: PrunePlan) -> None:
    """Remove what was planned. Raises StoreError where a process writes to a store that goes, or the disk
    refuses; what is half done then is whole, and can be planned and done again."""
    for planned in plan.stores:
        store = FeatureStore(planned.folder)
        with maintaining(planned.folder):
            if plan.keep is None or planned.whole:
                _remove_store(planned)
            else:
                _remove_clips(store, planned, plan.keep)


def _plan_store(store: FeatureStore, keep: np.ndarray | None) -> StorePlan:
    going = {}
    index = store.index()
    for name, digests in index.shards.items():
        goes = np.ones(len(digests), bool) if keep is None else ~np.isin(digests, keep)
        if goes.any():
            going[name] = goes
    gone = [index.shards[name][goes] for name, goes in going.items()]
    clips = len(np.unique(np.concatenate([np.empty(0, "S32"), *gone])))
    stats = stat_shards(store.folder, going)
    return StorePlan(
        folder=store.folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        clips=clips,
        clips_left=len(index.digests) - clips,
        nbytes=int(sum(stat.st_size * going[name].mean() for name, stat in stats.items())),
        whole=keep is None or 0 < clips == len(index.digests),
        shards=tuple(going),
    )


def _remove_clips(store: FeatureStore, planned: StorePlan, keep: np.ndarray) -> None:
    held = store.index().shards
    for name in (name for name in planned.shards if name in held):  # some may be gone since it was planned
        path, stays = store.folder / name, np.isin(held[name], keep)
        new = [rewrite(store.folder, store.extraction, [Piece(path, stays)])] if stays.any() else []
        remove([path] if path not in new else [])


def _remove_store(planned: StorePlan) -> None:
    """Shards first, the record last: cut short, it leaves a smaller store that can be pruned again."""
    folder = planned.folder
    try:
        with locked(folder / WRITERS, wait=False):
            remove([folder / name for name in planned.shards])
            if list_shards(folder):
                raise StoreError("has got new clips since it was planned", where=str(folder), do="plan again")
            if (folder / ASIDE).exists():
                shutil.rmtree(folder / ASIDE)
            for name in (failures.NAME, failures.LOCK, costs.NAME, costs.LOCK, RECORD, WRITERS, LOCK):
                (folder / name).unlink(missing_ok=True)
    except BlockingIOError as error:
        raise StoreError("a process writes to it now", where=str(folder), do="stop it, or wait") from error
    for empty in (folder, folder.parent):
        if not any(empty.iterdir()):  # a stranger's file keeps its folder
            empty.rmdir()
