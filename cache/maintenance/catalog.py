"""What a cache holds, at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerprobe.cache.common.disk import is_locked
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity import digests
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import RECORD, FeatureStore
from layerprobe.cache.store.shard import list_shards, stat_shards
from layerprobe.cache.store.writer import WRITERS

AUDIT = "audit"  # folder of a cache where an audit remembers what it measured


@dataclass(frozen=True)
class StoreInfo:
    """One store. `failed` clips are those that the last runs over them could not embed."""

    model: str
    fingerprint: str
    folder: Path
    layers: tuple[str, ...]
    stats: tuple[str, ...]
    dtype: str
    clips: int
    duplicates: int  # rows that `compact` would remove
    hours: float
    failed: int | None
    shards: int
    nbytes: int
    last_write: datetime
    being_written: bool  # a process has it open for writing now


@dataclass(frozen=True)
class CacheInfo:
    """Every store of a cache, and a line for each folder that cannot be read as one.

    remembered: bytes of what is known of sound files (hashes, an audit's measures); safe to delete.
    """

    cache: Path
    stores: list[StoreInfo]
    faults: list[str]
    remembered: int


def open_stores(cache: Path, *, model: str | None = None) -> tuple[list[FeatureStore], list[StoreError]]:
    """Every store of a cache, or those of one model as it was typed; and the faults of unreadable ones."""
    stores, faults = [], []
    for folder in sorted(path for path in cache.glob("*/*") if path.is_dir()):
        try:
            if (folder / RECORD).exists():
                stores.append(FeatureStore(folder))
            elif shards := len(list_shards(folder)):
                do = "embed with the model and options that filled it, which writes it anew: no state is lost"
                raise StoreError(f"holds {shards} shards, but no {RECORD}", where=str(folder), do=do)
        except StoreError as error:
            faults.append(error)
    return [s for s in stores if model in (None, s.extraction.model)], faults


def describe(cache: Path, *, model: str | None = None) -> CacheInfo:
    """Look at every store of a cache, or at those of one model. A damaged one is told, not raised."""
    stores, errors = open_stores(cache, model=model)
    told = []
    for store in stores:
        try:
            told.append(_describe(store, errors))
        except StoreError as error:
            errors.append(error)
    beside = [cache / digests.NAME, *(cache / AUDIT).rglob("*")]
    remembered = sum(path.stat().st_size for path in beside if path.is_file())
    return CacheInfo(cache, told, [error.line() for error in errors], remembered)


def _failed(store: FeatureStore, held: set[str], errors: list[StoreError]) -> int | None:
    try:
        return sum(failure.key not in held for failure in failures.read(store.folder).values())
    except StoreError as error:
        errors.append(error)
        return None


def _describe(store: FeatureStore, errors: list[StoreError]) -> StoreInfo:
    keys, index, extraction = store.keys(), store.index(), store.extraction
    held = set(keys)
    stats = [(store.folder / RECORD).stat(), *stat_shards(store.folder, index.shards).values()]
    return StoreInfo(
        model=extraction.model,
        fingerprint=extraction.fingerprint(),
        folder=store.folder,
        layers=extraction.layers,
        stats=extraction.stats,
        dtype=extraction.dtype,
        clips=len(keys),
        duplicates=sum(map(len, index.shards.values())) - len(index.digests),
        hours=float(store.seconds(keys).sum(dtype="f8")) / 3600,
        failed=_failed(store, held, errors),
        shards=len(index.shards),
        nbytes=sum(s.st_size for s in stats),
        last_write=datetime.fromtimestamp(max(s.st_mtime for s in stats), tz=UTC),
        being_written=is_locked(store.folder / WRITERS),
    )
