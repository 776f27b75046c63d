"""What may go: the stores of a model, or clips that no table names any more. A plan first, then the deed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from layerprobe.cache.common.disk import locked
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.cache.identity.keys import AudioSegment, clip_key, clip_keys
from layerprobe.cache.maintenance.catalog import open_stores
from layerprobe.cache.maintenance.rewrite import (
    MAINTENANCE_LOCK,
    ShardSelection,
    maintenance_lock,
    merge_clips,
    remove_shards,
)
from layerprobe.cache.maintenance.verify import QUARANTINE
from layerprobe.cache.store import costs, failures
from layerprobe.cache.store.failures import FailureId
from layerprobe.cache.store.feature_store import EXTRACTION_FILE, FeatureStore
from layerprobe.cache.store.shard import keys_to_digests, list_shards, stat_shards
from layerprobe.cache.store.writer import WRITERS_LOCK


@dataclass(frozen=True)
class StorePlan:
    """What goes from one store: `clips` of them, about `nbytes`; with `removes_store`, the store itself."""

    folder: Path
    model: str
    fingerprint: str
    clips: int
    remaining_clips: int
    nbytes: int
    removes_store: bool
    shards: tuple[str, ...] = field(repr=False)  # that are removed, or written anew without the clips that go
    failures: tuple[FailureId, ...] = field(repr=False)  # that are forgotten


@dataclass(frozen=True)
class PrunePlan:
    """What `apply_plan` removes: this, and nothing that comes to the stores after it was planned."""

    cache: Path
    stores: list[StorePlan]
    keep: np.ndarray | None = field(repr=False)  # digests (N,) S32 of the clips that stay; None: none do
    faults: list[str]  # of stores that cannot be read, and are left alone


def plan_pruning(
    cache: Path,
    *,
    model: str | None = None,
    keep: Collection[str] | None = None,
    names: Collection[FailureId] = (),
) -> PrunePlan:
    """Say what would go, and remove nothing.

    model: only the stores embedded under this name; all of them goes where `keep` is None.
    keep: keys of the clips that stay; all others go. A store left with none goes whole.
    names: clips that stay in failures.csv, whatever their key, beside those of `keep`.
    Raises StoreError where neither is given, or a shard is damaged: what it holds is not known then.
    """
    if model is None and keep is None:
        raise StoreError(
            "nothing says what may go", where=str(cache), do="name a model, or the tables whose clips stay"
        )
    stores, faults = open_stores(cache, model=model)
    digests = None if keep is None else keys_to_digests(sorted(keep))
    plans = [
        _plan_store(
            store,
            digests,
            () if keep is None else failures.unreferenced(store.folder, keys=keep, names=names),
        )
        for store in stores
    ]
    some = [p for p in plans if p.removes_store or p.clips or p.failures]
    return PrunePlan(cache, some, digests, [fault.line() for fault in faults])


def keys_to_keep(cache: Path, clips: Sequence[AudioSegment]) -> set[str]:
    """The keys of clips that stay, also of those whose files are gone.

    What a lost file held is told by its remembered hash, and by the path where a clip was first seen: all
    that was cut from that file stays. One that is known by neither, and is listed as failed, holds nothing.
    Raises StoreError where a file cannot be read and nothing of this is known: nothing must go then.
    """
    keys = clip_keys(clips, cache)
    found = {key for key in keys if isinstance(key, str)}
    gone = [clip for clip, key in zip(clips, keys, strict=True) if not isinstance(key, str)]
    if not gone:
        return found
    stores, _ = open_stores(cache)
    seen: dict[str, set[str]] = {}
    failed: set[FailureId] = set()
    for store in stores:
        held = store.keys()
        for key, path in zip(held, store.paths(held), strict=True):
            seen.setdefault(os.path.abspath(path), set()).add(key)  # noqa: PTH100 (keeps symbolic links)
        failed |= failures.read(store.folder).keys()
    unknown = []
    with DigestCache(cache) as digests:
        for clip in gone:
            digest, name = digests.last_known(clip.path), failures.failure_id(clip)
            if digest is not None:
                found.add(clip_key(digest, start=clip.start, end=clip.end))
            found |= seen.get(name[0], set())
            if digest is None and name[0] not in seen and name not in failed:
                unknown.append(str(clip.path))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise StoreError(
            f"cannot be read, and what is cached of it is not known ({len(unknown)} such files)",
            where=f"{unknown[0]}{more}",
            do="put it back, or take its row out of the table",
        )
    return found


def apply_plan(plan: PrunePlan) -> None:
    """Remove what was planned. Raises StoreError where a process writes to a store that goes, or the disk
    refuses; what is half done then is whole, and can be planned and done again."""
    for planned in plan.stores:
        store = FeatureStore(planned.folder)
        with maintenance_lock(planned.folder):
            if plan.keep is None or planned.removes_store:
                _remove_store(planned)
            else:
                _remove_clips(store, planned, plan.keep)
                failures.remove(planned.folder, planned.failures)


def _plan_store(store: FeatureStore, keep: np.ndarray | None, forgotten: tuple[FailureId, ...]) -> StorePlan:
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
        remaining_clips=len(index.digests) - clips,
        nbytes=int(sum(stat.st_size * going[name].mean() for name, stat in stats.items())),
        removes_store=keep is None or 0 < clips == len(index.digests),
        shards=tuple(going),
        failures=forgotten,
    )


def _remove_clips(store: FeatureStore, planned: StorePlan, keep: np.ndarray) -> None:
    held = store.index().shards
    for name in (name for name in planned.shards if name in held):  # some may be gone since it was planned
        path, stays = store.folder / name, np.isin(held[name], keep)
        new = (
            [merge_clips(store.folder, store.extraction, [ShardSelection(path, stays)])]
            if stays.any()
            else []
        )
        remove_shards([path] if path not in new else [])


def _remove_store(planned: StorePlan) -> None:
    """Shards first, the record last: cut short, it leaves a smaller store that can be pruned again."""
    folder = planned.folder
    try:
        with locked(folder / WRITERS_LOCK, wait=False):
            remove_shards([folder / name for name in planned.shards])
            if list_shards(folder):
                raise StoreError("has got new clips since it was planned", where=str(folder), do="plan again")
            if (folder / QUARANTINE).exists():
                shutil.rmtree(folder / QUARANTINE)
            for name in (
                failures.FILE_NAME,
                failures.LOCK,
                costs.FILE_NAME,
                costs.LOCK,
                EXTRACTION_FILE,
                WRITERS_LOCK,
                MAINTENANCE_LOCK,
            ):
                (folder / name).unlink(missing_ok=True)
    except BlockingIOError as error:
        raise StoreError("a process writes to it now", where=str(folder), do="stop it, or wait") from error
    for empty in (folder, folder.parent):
        if not any(empty.iterdir()):  # a stranger's file keeps its folder
            empty.rmdir()
