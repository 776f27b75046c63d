"""Check every byte of a store against the checksums in its shards' names, and repair it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.disk import TEMPORARY_PREFIX, abandoned_files, fsync_folder
from layerprobe.cache.common.errors import ForbiddenError, ForeignStoreError, StoreError
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.cache.maintenance.rewrite import MAINTENANCE_LOCK, maintenance_lock, read_blocks
from layerprobe.cache.remote.retries import DamagedError
from layerprobe.cache.store import costs, failures
from layerprobe.cache.store.feature_store import EXTRACTION_FILE, FeatureStore
from layerprobe.cache.store.location import records, tables
from layerprobe.cache.store.location.folders import refuse_remote
from layerprobe.cache.store.row_reader import all_finite
from layerprobe.cache.store.shard import (
    SHARD_NAME,
    ClipEntry,
    checksum,
    damaged_shard,
    layer_dataset,
    open_shard,
    read_entries,
    reporting_damage,
)
from layerprobe.cache.store.writer import WRITERS_LOCK

QUARANTINE = "damaged"  # folder in a store for damaged shards and records; nothing reads it
LOCKS = (failures.LOCK, costs.LOCK, WRITERS_LOCK, MAINTENANCE_LOCK)
STORE_FILES = (failures.FILE_NAME, costs.FILE_NAME, EXTRACTION_FILE, *LOCKS)  # in addition to shards
FOLDERS = (QUARANTINE, tables.FOLDER, records.FOLDER)  # the last two: in a copy of what was on object storage


@dataclass(frozen=True)
class ShardReport:
    """One checked shard.

    reason: what is wrong; empty for an intact shard. clips: the paths of its clips, or their keys where the
    path is unknown; empty where the shard's own table is damaged.
    """

    path: Path
    reason: str
    clips: list[str]
    nbytes: int


@dataclass(frozen=True)
class Verification:
    """What `verify` found in one store."""

    folder: Path
    model: str
    fingerprint: str
    shards: int
    clips: int  # of intact shards, including duplicates
    nbytes: int
    damaged: list[ShardReport]
    quarantined: list[Path]
    abandoned_files: list[Path]  # temporary files of dead processes; the next writer removes them
    foreign_files: list[Path]  # files that are not part of a store, which nothing reads


def verify(store: FeatureStore, *, repair: bool = False, workers: int = 4) -> Verification:
    """Read every shard completely and compare it with its name: finds any flipped bit.

    repair: move damaged shards to FOLDER/damaged, so that the next embed recomputes only their clips.
    Of a store on object storage, every shard is downloaded; it cannot be repaired.
    Raises StoreError where the folder or a shard may not be read, or the folder cannot be repaired.
    """
    folder = store.folder

    def check(name: str) -> ShardReport | None:
        try:
            store.shards.renew(name)
            with store.shards.opened(name) as path:
                return check_shard(path, store.extraction)
        except FileNotFoundError:
            return None  # removed by a compaction meanwhile
        except DamagedError as error:
            return ShardReport(folder / name, error.what, [], 0)

    if repair:
        refuse_remote(store.cache, "repaired")
    with ThreadPoolExecutor(workers) as pool:
        checked = pool.map(check, sorted(store.shards.names()))
        reports = [report for report in checked if report is not None]
    damaged = [report for report in reports if report.reason]
    return Verification(
        folder=folder,
        model=store.extraction.model,
        fingerprint=store.extraction.fingerprint(),
        shards=len(reports),
        clips=sum(len(report.clips) for report in reports if not report.reason),
        nbytes=sum(report.nbytes for report in reports),
        damaged=damaged,
        quarantined=_quarantine(folder, [report.path for report in damaged]) if repair and damaged else [],
        abandoned_files=abandoned_files(folder),
        foreign_files=[path for path in sorted(folder.iterdir()) if _is_foreign(path.name)],
    )


def quarantine_record(fault: StoreError) -> bool:
    """Move the damaged record that `open_stores` reported to FOLDER/damaged: the next embed writes it again.

    Returns whether it did: a record of another version or user is intact, a missing one cannot be moved.
    Raises StoreError.
    """
    if isinstance(fault, ForeignStoreError | ForbiddenError):
        return False
    folder = Path(fault.where) if Path(fault.where).is_dir() else Path(fault.where).parent
    return (folder / EXTRACTION_FILE).exists() and bool(_quarantine(folder, [folder / EXTRACTION_FILE]))


def check_shard(path: Path, extraction: Extraction) -> ShardReport:
    """Read one shard completely. Raises FileNotFoundError and ForbiddenError."""
    reason, entries, nbytes = "", [], 0
    try:
        nbytes = path.stat().st_size
        named, actual = path.name.removeprefix("shard-").removesuffix(".h5"), checksum(path)
        if named != actual:
            reason = f"its bytes have the checksum {actual}, its name says {named}"
        with open_shard(path, extraction.fingerprint()) as file:
            entries = read_entries(file, path, row_bytes=extraction.bytes_per_row())
            reason = reason or _fault(entries, extraction)
            for layer in () if reason else extraction.layers:
                with reporting_damage(path):
                    states = layer_dataset(file, layer, extraction, rows=sum(e.rows for e in entries))
                if not all(all_finite(block) for _, block in read_blocks(states, path)):
                    reason = f"states of layer {layer} are not finite"
    except (FileNotFoundError, ForbiddenError):
        raise
    except PermissionError as error:
        raise damaged_shard(path, error) from error
    except StoreError as error:
        reason = reason or error.what
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    return ShardReport(path, reason, [entry.path or entry.key for entry in entries], nbytes)


def _fault(entries: list[ClipEntry], extraction: Extraction) -> str:
    """What is wrong with a shard's table of clips; empty if nothing is."""
    if len({entry.key for entry in entries}) < len(entries):
        return "a clip is in it twice"
    for entry in entries:
        rows = entry.frames if extraction.stats == (FRAME,) else 1
        if entry.rows != rows or entry.frames < 0 or not 0 <= entry.seconds < math.inf:
            numbers = f"{entry.rows} rows, {entry.frames} frames, {entry.seconds:g} seconds"
            return f"clip {entry.key[:12]} has {numbers}"
    return ""


def _is_foreign(name: str) -> bool:
    known = name in (*STORE_FILES, *FOLDERS) or name.startswith(TEMPORARY_PREFIX)
    return not known and not SHARD_NAME.fullmatch(name)


def _quarantine(folder: Path, paths: list[Path]) -> list[Path]:
    with maintenance_lock(folder):
        quarantine = folder / QUARANTINE
        quarantine.mkdir(exist_ok=True)
        moved = [path.replace(quarantine / path.name) for path in paths if path.exists()]
        fsync_folder(quarantine)
        fsync_folder(folder)
    return moved
