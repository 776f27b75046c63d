"""Remove stores of a model, or clips that no table lists any more: first a plan, then its execution."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from layerprobe.cache.common.disk import locked
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.cache.identity.extraction import EACH_CHANNEL
from layerprobe.cache.maintenance.catalog import open_stores
from layerprobe.cache.maintenance.channels import channel_keys
from layerprobe.cache.maintenance.rewrite import ShardSelection, maintenance_lock, merge_clips, remove_shards
from layerprobe.cache.maintenance.verify import QUARANTINE, STORE_FILES
from layerprobe.cache.store import failures
from layerprobe.cache.store.failures import FailureId
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import AudioSegment, clip_key, clip_keys, keys_to_digests
from layerprobe.cache.store.location.folders import refuse_remote
from layerprobe.cache.store.shard import list_shards, stat_shards
from layerprobe.cache.store.writer import WRITERS_LOCK


@dataclass(frozen=True)
class StorePlan:
    """What to remove from one store: `clips` of them, about `nbytes`; or the store itself."""

    folder: Path
    model: str
    fingerprint: str
    clips: int
    remaining_clips: int
    nbytes: int
    removes_store: bool
    shards: tuple[str, ...] = field(repr=False)  # to delete, or to rewrite without the removed clips
    failures: tuple[FailureId, ...] = field(repr=False)  # to remove from failures.csv


@dataclass(frozen=True)
class PrunePlan:
    """What `apply_plan` removes: exactly this, and nothing that is added to the stores later."""

    cache: Path
    stores: list[StorePlan]
    keep: np.ndarray | None = field(repr=False)  # digests (N,) S32 of the clips to keep; None keeps none
    faults: list[str]  # of unreadable stores, which are not changed


def plan_pruning(
    cache: Path,
    *,
    model: str | None = None,
    keep: Collection[str] | None = None,
    names: Collection[FailureId] = (),
) -> PrunePlan:
    """Plan what to remove, without removing anything.

    model: only the stores embedded under this name; removed completely where `keep` is None.
    keep: keys of the clips to keep; all others are removed. A store without a remaining clip is removed.
    names: clips to keep in failures.csv in addition to those of `keep`.
    Raises StoreError without model and keep, or where a shard is damaged, so that its clips are unknown.
    """
    refuse_remote(cache, "pruned")
    if model is None and keep is None:
        do = "name a model, or the tables whose clips stay"
        raise StoreError("nothing says what may go", where=str(cache), do=do)
    stores, faults = open_stores(cache, model=model)
    digests = None if keep is None else keys_to_digests(sorted(keep))
    plans = []
    for store in stores:
        listed = () if keep is None else failures.unreferenced(store.folder, keys=keep, names=names)
        plans.append(_plan_store(store, digests, listed))
    plans = [plan for plan in plans if plan.removes_store or plan.clips or plan.failures]
    return PrunePlan(cache, plans, digests, [fault.line() for fault in faults])


def keys_to_keep(cache: Path, clips: Sequence[AudioSegment]) -> set[str]:
    """The keys of the clips to keep, including those whose files were deleted.

    A deleted file is identified by its last known digest, and by the path where its clips were first seen:
    all its segments stay. A file with neither that is listed as failed has no states.
    Raises StoreError where a file cannot be read and none of this is known: then nothing may be removed.
    """
    keys = clip_keys(clips, cache)
    keep = _with_channels(cache, {key for key in keys if isinstance(key, str)})
    unreadable = [clip for clip, key in zip(clips, keys, strict=True) if not isinstance(key, str)]
    if not unreadable:
        return keep
    keys_by_path: dict[str, set[str]] = defaultdict(set)
    failed: set[FailureId] = set()
    for store in open_stores(cache)[0]:
        stored = store.keys()
        for key, path in zip(stored, store.paths(stored), strict=True):
            keys_by_path[os.path.abspath(path)].add(key)  # noqa: PTH100 (keeps symbolic links)
        failed |= failures.read(store.folder).keys()
    unknown = []
    with DigestCache(cache) as digests:
        for clip in unreadable:
            digest, name = digests.last_known(clip.path), failures.failure_id(clip)
            if digest is not None:
                key = clip_key(digest, start=clip.start, end=clip.end, own_channel=clip.own_channel)
                keep |= _with_channels(cache, {key})
            if name[0] in keys_by_path:
                keep |= keys_by_path[name[0]]
            elif digest is None and name not in failed:
                unknown.append(str(clip.path))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise StoreError(
            f"cannot be read, and what is cached of it is not known ({len(unknown)} such files)",
            where=f"{unknown[0]}{more}",
            do="put it back, or take its row out of the table",
        )
    return keep


def _with_channels(cache: Path, keys: set[str]) -> set[str]:
    """The keys, and in stores of each channel those of the recordings' channels."""
    stores = [store for store in open_stores(cache)[0] if store.extraction.channels == EACH_CHANNEL]
    return keys.union(*(channel_keys(store, sorted(keys)) for store in stores))


def apply_plan(plan: PrunePlan) -> None:
    """Remove what was planned.

    Raises StoreError where a process writes to a store that is to be removed, or the disk fails; the stores
    are then still consistent, and pruning can be planned and applied again.
    """
    for store_plan in plan.stores:
        with maintenance_lock(store_plan.folder):
            if plan.keep is None or store_plan.removes_store:
                _remove_store(store_plan)
            else:
                _remove_clips(store_plan, plan.keep)
                failures.remove(store_plan.folder, store_plan.failures)


def _plan_store(store: FeatureStore, keep: np.ndarray | None, failed: tuple[FailureId, ...]) -> StorePlan:
    index = store.index()
    removed = {
        name: np.ones(len(digests), bool) if keep is None else ~np.isin(digests, keep)
        for name, digests in index.shards.items()
    }
    removed = {name: mask for name, mask in removed.items() if mask.any()}
    digests = [index.shards[name][mask] for name, mask in removed.items()]
    clips = len(np.unique(np.concatenate([np.empty(0, "S32"), *digests])))
    stats = stat_shards(store.folder, removed)
    return StorePlan(
        folder=store.folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        clips=clips,
        remaining_clips=len(store) - clips,
        nbytes=int(sum(stat.st_size * removed[name].mean() for name, stat in stats.items())),
        removes_store=keep is None or 0 < clips == len(store),
        shards=tuple(removed),
        failures=failed,
    )


def _remove_clips(plan: StorePlan, keep: np.ndarray) -> None:
    store = FeatureStore(plan.folder)
    shards = store.index().shards
    for name in (name for name in plan.shards if name in shards):  # some may have been compacted meanwhile
        path, mask = store.folder / name, np.isin(shards[name], keep)
        new = (
            merge_clips(store.folder, store.extraction, [ShardSelection(path, mask)]) if mask.any() else None
        )
        remove_shards([path] if path != new else [])


def _remove_store(plan: StorePlan) -> None:
    """Shards first, the record last: an interrupted removal leaves a smaller store to prune again."""
    folder = plan.folder
    try:
        with locked(folder / WRITERS_LOCK, wait=False):
            remove_shards([folder / name for name in plan.shards])
            if list_shards(folder):
                raise StoreError("has got new clips since it was planned", where=str(folder), do="plan again")
            if (folder / QUARANTINE).exists():
                shutil.rmtree(folder / QUARANTINE)
            for name in STORE_FILES:
                (folder / name).unlink(missing_ok=True)
    except BlockingIOError as error:
        raise StoreError("a process writes to it now", where=str(folder), do="stop it, or wait") from error
    for empty in (folder, folder.parent):
        if not any(empty.iterdir()):  # the folder of a foreign file stays
            empty.rmdir()
